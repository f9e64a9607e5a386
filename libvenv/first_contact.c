/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine without cloud-init is told over ssh.
 *
 * Vagrant's boxes let in whoever has a key that everybody has. It is used once: over it the machine gets
 * its own host key and ours to log in with, and it is taken out. The folders are mounted at each start,
 * where nobody did it before.
 */
#include "first_contact.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "first_start.h"
#include "guest.h"
#include "ssh/ssh.h"
#include "util/process.h"

/* ---- The well-known key -------------------------------------------------------------------- */

/* Vagrant's, of 2010: what every box lets in is no secret. */
static const char known_key[] = "-----BEGIN RSA PRIVATE KEY-----\n"
				"MIIEogIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzI\n"
				"w+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoP\n"
				"kcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2\n"
				"hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NO\n"
				"Td0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcW\n"
				"yLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQIBIwKCAQEA4iqWPJXtzZA68mKd\n"
				"ELs4jJsdyky+ewdZeNds5tjcnHU5zUYE25K+ffJED9qUWICcLZDc81TGWjHyAqD1\n"
				"Bw7XpgUwFgeUJwUlzQurAv+/ySnxiwuaGJfhFM1CaQHzfXphgVml+fZUvnJUTvzf\n"
				"TK2Lg6EdbUE9TarUlBf/xPfuEhMSlIE5keb/Zz3/LUlRg8yDqz5w+QWVJ4utnKnK\n"
				"iqwZN0mwpwU7YSyJhlT4YV1F3n4YjLswM5wJs2oqm0jssQu/BT0tyEXNDYBLEF4A\n"
				"sClaWuSJ2kjq7KhrrYXzagqhnSei9ODYFShJu8UWVec3Ihb5ZXlzO6vdNQ1J9Xsf\n"
				"4m+2ywKBgQD6qFxx/Rv9CNN96l/4rb14HKirC2o/orApiHmHDsURs5rUKDx0f9iP\n"
				"cXN7S1uePXuJRK/5hsubaOCx3Owd2u9gD6Oq0CsMkE4CUSiJcYrMANtx54cGH7Rk\n"
				"EjFZxK8xAv1ldELEyxrFqkbE4BKd8QOt414qjvTGyAK+OLD3M2QdCQKBgQDtx8pN\n"
				"CAxR7yhHbIWT1AH66+XWN8bXq7l3RO/ukeaci98JfkbkxURZhtxV/HHuvUhnPLdX\n"
				"3TwygPBYZFNo4pzVEhzWoTtnEtrFueKxyc3+LjZpuo+mBlQ6ORtfgkr9gBVphXZG\n"
				"YEzkCD3lVdl8L4cw9BVpKrJCs1c5taGjDgdInQKBgHm/fVvv96bJxc9x1tffXAcj\n"
				"3OVdUN0UgXNCSaf/3A/phbeBQe9xS+3mpc4r6qvx+iy69mNBeNZ0xOitIjpjBo2+\n"
				"dBEjSBwLk5q5tJqHmy/jKMJL4n9ROlx93XS+njxgibTvU6Fp9w+NOFD/HvxB3Tcz\n"
				"6+jJF85D5BNAG3DBMKBjAoGBAOAxZvgsKN+JuENXsST7F89Tck2iTcQIT8g5rwWC\n"
				"P9Vt74yboe2kDT531w8+egz7nAmRBKNM751U/95P9t88EDacDI/Z2OwnuFQHCPDF\n"
				"llYOUI+SpLJ6/vURRbHSnnn8a/XG+nzedGH5JGqEJNQsz+xT2axM0/W/CRknmGaJ\n"
				"kda/AoGANWrLCz708y7VYgAtW2Uf1DPOIYMdvo6fxIB5i9ZfISgcJ/bbCUkFrhoH\n"
				"+vq/5CIWxCPp0f85R4qxxQ5ihxJ0YDQT9Jpx4TMss4PSavPaBH3RXow5Ohe+bYoQ\n"
				"NE5OgEXk2wVfZczCZpigBKbKZHNYcelXtTt/nP3rsCuGcM4h53s=\n"
				"-----END RSA PRIVATE KEY-----\n";

enum { KEY_MAX = 65536, AUTHORIZED_MAX = 262144, SAID_MAX = 4096 };

/*
 * Runs as root there, after user, host, host_key, host_public and keys were set. The order lets it be
 * cut off and begun again: the well-known keys (RSA, Ed25519) go last.
 */
static const char settle_script[] =
	"set -eu\n"
	"umask 077\n"
	"home=$(getent passwd \"$user\" | cut -d: -f6)\n"
	"[ -n \"$home\" ] || { echo \"it has no user '$user'\" >&2; exit 3; }\n"
	"printf '%s\\n' \"$host_key\" >/etc/ssh/ssh_host_ed25519_key\n"
	"printf '%s\\n' \"$host_public\" >/etc/ssh/ssh_host_ed25519_key.pub\n"
	"chmod 0600 /etc/ssh/ssh_host_ed25519_key\n"
	"chmod 0644 /etc/ssh/ssh_host_ed25519_key.pub\n"
	"c=/etc/ssh/sshd_config k='^[[:space:]]*HostKey[[:space:]]'\n"
	"if grep -qi \"$k\" $c && ! grep -qi \"$k.*ed25519\" $c; then\n"
	"  sed -i '1i HostKey /etc/ssh/ssh_host_ed25519_key' $c\n"
	"fi\n"
	"mkdir -p \"$home/.ssh\"\n"
	"printf '%s\\n' \"$keys\" >>\"$home/.ssh/authorized_keys\"\n"
	"chown -R \"$(id -u \"$user\"):$(id -g \"$user\")\" \"$home/.ssh\"\n"
	"echo \"$host\" >/etc/hostname\n"
	"chmod 0644 /etc/hostname\n"
	"hostname \"$host\" || :\n"
	"grep -q \"[[:space:]]$host\\$\" /etc/hosts || echo \"127.0.1.1 $host\" >>/etc/hosts\n"
	"! command -v restorecon >/dev/null || restorecon -R /etc/ssh \"$home/.ssh\" || :\n"
	"systemctl reload ssh || systemctl reload sshd || service ssh reload ||\n"
	"  service sshd reload || kill -HUP \"$(cat /run/sshd.pid)\"\n"
	"for home in \"$home\" \"$(getent passwd vagrant | cut -d: -f6)\" /root; do\n"
	"  file=$home/.ssh/authorized_keys\n"
	"  [ -f \"$file\" ] || continue\n"
	"  rest=$(grep -v -e 'AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4Tj' \\\n"
	"    -e 'AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBp' \"$file\" || :)\n"
	"  printf '%s\\n' \"$rest\" >\"$file\"\n"
	"done\n";

static void set_variable(struct buf *script, const char *name, const char *value)
{
	venv__buf_printf(script, "%s='", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\'')
			venv__buf_puts(script, "'\\''");
		else
			venv__buf_add(script, c, 1);
	}
	venv__buf_puts(script, "'\n");
}

/* A file of the machine's, without the end of its last line. */
static int set_file(struct buf *script, const char *name, const struct machine *machine,
		    const char *file, size_t max, venv_error **err)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int r = venv__file_read(machine->dir_fd, file, max, &text, &length, err);

	if (r < 0)
		return r;
	while (length && text[length - 1] == '\n')
		text[--length] = '\0';
	set_variable(script, name, text);
	return 0;
}

/* A sealed file that is the script's standard input: keys are on nobody's command line. */
static int make_script(const struct machine *machine, venv_error **err)
{
	const char *host = machine->spec->hostname ? machine->spec->hostname : machine->name;
	_cleanup_buf_ struct buf script = { 0 };
	int fd, r;

	set_variable(&script, "user", machine->login);
	set_variable(&script, "host", host);
	r = set_file(&script, "host_key", machine, "keys/host", KEY_MAX, err);
	if (r == 0)
		r = set_file(&script, "host_public", machine, "keys/host.pub", KEY_MAX, err);
	if (r == 0)
		r = set_file(&script, "keys", machine, "keys/authorized", AUTHORIZED_MAX, err);
	if (r < 0)
		return r;
	venv__buf_puts(&script, settle_script);
	if (script.failed)
		return venv__fail_nomem(err);
	fd = venv__memfd_sealed("venv-first-contact", script.data, script.length);
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot make a memory file") : fd;
}

static int run_script(struct work *work, int script, int said, venv_error **err)
{
	const struct ssh_run run = { .command = "sudo -n /bin/sh -s",
				     .fds = { script, -1, said },
				     .control = -1 };
	struct ssh_target target = { .user = "vagrant",
				     .alias = work->spec->name,
				     .key_text = known_key };
	_cleanup_close_ int fd = -1;
	int r = work->provider->connect(&work->machine, &fd, err);

	if (r < 0)
		return r;
	target.fd = fd;
	return venv__ssh_run(work->project->ctx, &target, &run, work->op, err);
}

/* A file for what it says, which a machine that says too much does not make larger. */
static int open_said(venv_error **err)
{
	_cleanup_close_ int fd = memfd_create("venv-said", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, SAID_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
		return venv__fail_errno(err, errno, "cannot make a memory file");
	return take_fd(&fd);
}

static int failed(int said, venv_error **err)
{
	char text[SAID_MAX + 1] = "";
	int r = venv__fail(err, VENV_ERR_COMMAND,
			   "its well-known key could not be replaced by its own");

	if (pread(said, text, SAID_MAX, 0) > 0 && *text)
		(void)venv__error_set_details(r, err, text);
	return venv__hint(r, err,
			  "Vagrant's boxes let the user 'vagrant' use sudo: this one does "
			  "not, or lacks the user that 'user' in venv.yml names");
}

int venv__first_contact(struct work *work, venv_error **err)
{
	_cleanup_close_ int script = make_script(&work->machine, err);
	_cleanup_close_ int said = script < 0 ? script : open_said(err);
	int r;

	if (said < 0)
		return said;
	r = run_script(work, script, said, err);
	if (r > 0)
		return failed(said, err);
	if (r < 0)
		return r;
	(void)json_object_set_new(work->record.state, "keyed", json_true());
	return venv__machine_save(&work->record, WRITE_DURABLE, err);
}

bool venv__first_contact_due(const struct work *work)
{
	return venv__json_bool(json_object_get(work->record.spec, "box"), "insecure_key", false) &&
	       !venv__json_bool(work->record.state, "keyed", false);
}

/* ---- Folders ------------------------------------------------------------------------------- */

/* $1: who logs in; then for each folder its tag, its place, "rw" or "ro". Tells who that is. */
static const char mount_script[] =
	"id -u -- \"$1\" && id -g -- \"$1\" || exit; shift\n"
	"while [ $# -gt 0 ]; do\n"
	"  mkdir -p -- \"$2\" || exit\n"
	"  mountpoint -q -- \"$2\" || mount -t virtiofs -o \"$3\" -- \"$1\" \"$2\" || exit\n"
	"  shift 3\n"
	"done\n";

struct said {
	struct buf out, err;
};

static void hear(void *user, int stream, const char *data, size_t length)
{
	struct said *said = user;
	struct buf *to = stream == 1 ? &said->out : &said->err;

	if (to->length + length <= SAID_MAX)
		venv__buf_add(to, data, length);
}

static char **mount_words(const struct machine *machine)
{
	static const char *const begin[] = { "/bin/sh", "-c", mount_script, "venv" };
	char **words = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(begin); i++)
		r = venv__strv_add(&words, begin[i]);
	if (r == 0)
		r = venv__strv_add(&words, machine->login);
	for (size_t i = 0; r == 0 && i < machine->n_folders; i++) {
		const struct machine_folder *folder = &machine->folders[i];

		r = venv__strv_addf(&words, FOLDER_TAG "%zu", i);
		if (r == 0)
			r = venv__strv_add(&words, folder->guest);
		if (r == 0)
			r = venv__strv_add(&words, folder->read_only ? "ro" : "rw");
	}
	if (r == 0)
		return words;
	venv__strv_free(words);
	return NULL;
}

/* Remember who logs in there, whose the folders are to be. */
static int note_login(struct work *work, const char *answer, venv_error **err)
{
	struct machine *machine = &work->machine;
	unsigned long uid, gid;
	char *gid_text, *end;
	json_t *login;

	uid = strtoul(answer, &gid_text, 10);
	gid = strtoul(gid_text, &end, 10);
	if (gid_text == answer || end == gid_text || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return 0;
	if (machine->login_known && machine->login_uid == uid && machine->login_gid == gid)
		return 0;
	login = venv__json_pack("{s:s, s:I, s:I}", "name", machine->login, "uid", (json_int_t)uid,
				"gid", (json_int_t)gid);
	if (json_object_set_new(work->record.state, "login", login) < 0)
		return venv__fail_nomem(err);
	machine->login_known = true;
	machine->login_uid = (uint32_t)uid;
	machine->login_gid = (uint32_t)gid;
	return work->provider->own ? work->provider->own(machine, err) : 0;
}

static int mount_failed(const struct said *said, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_COMMAND, "its shared folders cannot be mounted");

	if (said->err.length)
		(void)venv__error_set_details(r, err, said->err.data);
	return venv__hint(r, err, "its kernel must have virtiofs; 'folders: []' shares none");
}

static int mount_all(struct work *work, struct said *said, venv_error **err)
{
	char root[] = "root", top[] = "/";
	struct guest_io io = GUEST_IO_INIT;
	_cleanup_strv_ char **words = mount_words(&work->machine);
	struct exec_spec spec = { .argv = words, .user = root, .directory = top };
	int r;

	if (!words)
		return venv__fail_nomem(err);
	io.output = hear;
	io.user = said;
	r = venv__guest_run(work->provider, &work->machine, &spec, &io, work->op, err);
	if (r > 0)
		return mount_failed(said, err);
	return r == 0 && said->out.length ? note_login(work, said->out.data, err) : r;
}

int venv__folders_mount(struct work *work, venv_error **err)
{
	struct said said = { { 0 }, { 0 } };
	int r = 0;

	if (!work->machine.folders)
		r = venv__folders_open(work, err);
	if (r < 0 || !work->machine.n_folders)
		return r;
	venv__op_begin(work->op, work->spec->name, "folders", "mounting its folders");
	r = mount_all(work, &said, err);
	venv__buf_done(&said.out);
	venv__buf_done(&said.err);
	if (r == 0)
		venv__op_end(work->op, work->spec->name, "folders");
	return r;
}
