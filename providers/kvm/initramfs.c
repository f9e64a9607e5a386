/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initramfs of a machine made of a rootfs box, as a cpio archive in memory: our /init, venv-enter, the
 * kernel's modules, and /config, which says what the machine shall be (guest/protocol.h).
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "first_start.h"
#include "guest/protocol.h"
#include "image.h"
#include "kvm.h"
#include "util/buf.h"

enum { LIST_MAX = 65536, FILE_MAX = 64 << 20 };

/* ---- The archive --------------------------------------------------------------------------- */

struct archive {
	int fd;
	unsigned number;
};

static int put_padding(int fd, size_t length)
{
	static const char zeros[4];

	return venv__write_all(fd, zeros, -length & 3);
}

/* The header of the "newc" format: thirteen numbers of eight hexadecimal digits. */
static int put_header(struct archive *archive, const char *name, unsigned mode, size_t size,
		      unsigned device)
{
	_cleanup_buf_ struct buf head = { 0 };
	size_t length = strlen(name) + 1;
	int r;

	venv__buf_printf(&head, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			 ++archive->number, mode, 0U, 0U, 1U, 0U, (unsigned)size, 0U, 0U,
			 device >> 8, device & 0xff, (unsigned)length, 0U);
	venv__buf_add(&head, name, length);
	if (head.failed)
		return -ENOMEM;
	r = venv__write_all(archive->fd, head.data, head.length);
	return r < 0 ? r : put_padding(archive->fd, head.length);
}

static int put_bytes(struct archive *archive, const char *name, unsigned mode, const void *data,
		     size_t size, venv_error **err)
{
	int r = put_header(archive, name, S_IFREG | mode, size, 0);

	if (r == 0)
		r = venv__write_all(archive->fd, data, size);
	if (r == 0)
		r = put_padding(archive->fd, size);
	return r < 0 ? venv__fail_errno(err, -r, "cannot make the initramfs") : 0;
}

static int put_program(struct archive *archive, const char *name, int libexec, const char *program,
		       venv_error **err)
{
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	int r = venv__file_read(libexec, program, FILE_MAX, &data, &size, err);

	return r < 0 ? r : put_bytes(archive, name, 0700, data, size, err);
}

static int put_places(struct archive *archive)
{
	static const char *const places[] = { "dev", "proc", "sys", "root", "modules" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = put_header(archive, places[i], S_IFDIR | 0755, 0, 0);
	return r < 0 ? r : put_header(archive, "dev/console", S_IFCHR | 0600, 0, 5 << 8 | 1);
}

/* ---- What it shall be ----------------------------------------------------------------------- */

static void put_word(struct buf *config, const char *key, const char *value)
{
	if (!value)
		return;
	venv__buf_puts(config, key);
	venv__buf_add(config, "=", 1);
	venv__buf_add(config, value, strlen(value) + 1);
}

static void put_words(struct buf *config, const char *key, char *const *values)
{
	for (; values && *values; values++)
		put_word(config, key, *values);
}

static void put_number(struct buf *config, const char *key, long value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", value);
	put_word(config, key, text);
}

static void put_network(struct buf *config, const struct net_attachment *net)
{
	for (size_t i = 0; net && i < net->n_interfaces; i++) {
		const struct net_interface *in = &net->interfaces[i];
		char text[128];

		(void)snprintf(text, sizeof(text), "%s %s/%u %u %s %s", in->mac, in->address,
			       in->prefix, in->mtu, in->gateway ? in->gateway : "-", in->name);
		put_word(config, "net", text);
	}
	if (net)
		put_word(config, "dns", net->dns);
}

static void put_folders(struct buf *config, const struct machine *machine)
{
	for (size_t i = 0; i < machine->n_folders; i++) {
		const struct machine_folder *folder = &machine->folders[i];
		_cleanup_free_ char *text = NULL;

		if (asprintf(&text, FOLDER_TAG "%zu %s %s", i, folder->read_only ? "ro" : "rw",
			     folder->guest) < 0) {
			config->failed = true;
			text = NULL;
		}
		put_word(config, "folder", text);
	}
}

static void put_environment(struct buf *config, const struct machine *machine)
{
	static const char path[] =
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	_cleanup_strv_ char **env = kvm_guest_environment(machine);

	if (!env)
		config->failed = true;
	if (!venv__env_get(env, "PATH"))
		put_word(config, "env", path);
	put_words(config, "env", env);
}

/* As for a container: systemd of the image, its command beside our process 1, or that alone. */
static int put_command(struct buf *config, const struct machine *machine, venv_error **err)
{
	const struct machine_spec *spec = machine->spec;
	bool system = venv__image_is_system(&machine->image), is_machine;
	_cleanup_strv_ char **command = venv__image_command(&machine->image);
	const char *directory = machine->image.workdir, *user = machine->image.user;

	if (spec->init == INIT_SYSTEMD || (system && spec->init != INIT_NONE)) {
		put_words(config, "init", system ? command : NULL);
		put_word(config, "init", system ? NULL : "/sbin/init");
		return 0;
	}
	is_machine = spec->init == INIT_IMAGE;
	if (!is_machine && spec->command != COMMAND_IMAGE)
		return 0;
	if (!command)
		return venv__hint(
			venv__fail(err, VENV_ERR_BOX, "the box has no command of its own"), err,
			is_machine ? "set 'init: auto' in venv.yml"
				   : "remove 'command: image' from venv.yml");
	put_words(config, "command", command);
	put_word(config, "command_user", user && *user ? user : "root");
	put_word(config, "command_directory", directory && *directory ? directory : "/");
	put_number(config, "command_signal",
		   venv__signal_number(machine->image.stop_signal, SIGTERM));
	put_number(config, "command_is_machine", is_machine);
	return 0;
}

static int put_config(struct archive *archive, const struct machine *machine, struct buf *config,
		      venv_error **err)
{
	const struct machine_spec *spec = machine->spec;
	int r;

	put_number(config, "version", AGENT_VERSION);
	put_word(config, "root", KVM_ROOT_SERIAL);
	put_word(config, "hostname", spec->hostname ? spec->hostname : machine->name);
	put_word(config, "login", machine->login ? machine->login : "root");
	put_words(config, "hosts", machine->hosts);
	put_number(config, "stop_ms", spec->stop_timeout_ms ? (long)spec->stop_timeout_ms : 60000);
	put_network(config, machine->net);
	put_folders(config, machine);
	put_environment(config, machine);
	r = put_command(config, machine, err);
	if (r < 0)
		return r;
	if (config->failed)
		return venv__fail_errno(err, ENOMEM, "cannot make the initramfs");
	return put_bytes(archive, "config", 0600, config->data, config->length, err);
}

/* ---- Modules ------------------------------------------------------------------------------- */

/* What is in a box may be anything, links to files of this host and pipes too. */
static int read_file(int kernel, const char *path, size_t max, char **ret, size_t *ret_length,
		     venv_error **err)
{
	_cleanup_close_ int fd = venv__open_beneath(kernel, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open the kernel's '%s'", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__fail(err, VENV_ERR_CORRUPT, "the kernel's '%s' is no file", path);
	return venv__fd_read(fd, path, max, ret, ret_length, err);
}

static int put_module(struct archive *archive, int kernel, const char *path, venv_error **err)
{
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	int r = read_file(kernel, path, FILE_MAX, &data, &size, err);

	return r < 0 ? r : put_bytes(archive, path, 0600, data, size, err);
}

/* A list of the kernel box's: names of files in its modules/, one a line. */
static int put_modules(struct archive *archive, int kernel, const char *list, const char *key,
		       struct buf *config, venv_error **err)
{
	_cleanup_free_ char *text = NULL;
	int r = read_file(kernel, list, LIST_MAX, &text, NULL, err);
	char *rest = text, *name;

	while (r == 0 && (name = strsep(&rest, "\n"))) {
		_cleanup_free_ char *path = NULL;

		if (!*name)
			continue;
		if (strchr(name, '/') || asprintf(&path, "modules/%s", name) < 0) {
			path = NULL;
			return venv__fail(err, VENV_ERR_CORRUPT, "'%s' names no module", list);
		}
		put_word(config, key, name);
		r = put_module(archive, kernel, path, err);
	}
	return r;
}

static int put_all(struct archive *archive, const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int kernel = -1, libexec = open(machine->ctx->libexec_dir,
							O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_buf_ struct buf config = { 0 };
	int r = put_places(archive);

	if (r < 0 || libexec < 0)
		return venv__fail_errno(err, r < 0 ? -r : errno, "cannot make the initramfs");
	r = put_program(archive, "init", libexec, "venv-guest", err);
	if (r == 0)
		r = put_program(archive, "venv-enter", libexec, "venv-enter", err);
	if (r == 0 && machine->image.kernel) {
		kernel = open(machine->image.kernel, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (kernel < 0)
			return venv__fail_errno(err, errno, "cannot open the kernel '%s'",
						machine->image.kernel);
		r = put_modules(archive, kernel, "modules.order", "module", &config, err);
		if (r == 0)
			r = put_modules(archive, kernel, "modules.later", "later", &config, err);
	}
	if (r == 0)
		r = put_config(archive, machine, &config, err);
	if (r < 0)
		return r;
	r = put_header(archive, "TRAILER!!!", 0, 0, 0);
	return r < 0 ? venv__fail_errno(err, -r, "cannot make the initramfs") : 0;
}

char **kvm_guest_environment(const struct machine *machine)
{
	_cleanup_strv_ char **env = calloc(1, sizeof(char *));

	for (char **entry = machine->image.env; env && entry && *entry; entry++)
		if (venv__env_set(&env, *entry) < 0)
			return NULL;
	for (char **entry = machine->spec->env; env && entry && *entry; entry++)
		if (venv__env_set(&env, *entry) < 0)
			return NULL;
	return take_ptr(env);
}

int kvm_initramfs_make(const struct machine *machine, venv_error **err)
{
	struct archive archive = { .fd = memfd_create("venv-initramfs", MFD_CLOEXEC) };
	_cleanup_close_ int fd = archive.fd;
	int r;

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot make a memory file");
	r = put_all(&archive, machine, err);
	if (r < 0)
		return venv__wrap(r, err, "initramfs");
	return take_fd(&fd);
}
