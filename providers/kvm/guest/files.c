/* SPDX-License-Identifier: Apache-2.0 */
/* Name, hosts, resolver and the shared folders, in the machine's own root. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"
#include "util/file.h"

enum { TAG_MAX = 36 };

/* Replaced by rename: a link that stands there, as the image's resolver may have put one, is not followed. */
static void put_file(int etc, const char *name, const char *head, const struct words *config,
		     const char *key)
{
	static const char temporary[] = ".venv-new";
	_cleanup_close_ int fd = -1;
	const char *at = NULL, *line;
	bool written;

	(void)unlinkat(etc, temporary, 0);
	fd = openat(etc, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	written = fd >= 0 && dprintf(fd, "%s", head) >= 0;
	while (written && key && (line = words_each(config, key, &at)))
		written = dprintf(fd, "%s\n", line) >= 0;
	if (!written || renameat(etc, temporary, etc, name) < 0)
		guest_say("cannot write /etc/%s: %s", name, strerror(errno));
}

/* The first interface's, or the one that Debian gives a machine without. */
static void own_address(const struct words *config, char ret[16])
{
	const char *net = words_get(config, "net");
	struct guest_net parsed;

	(void)snprintf(ret, 16, "%s",
		       net && guest_net_parse(net, &parsed) ? parsed.address : "127.0.1.1");
}

void guest_files_write(const struct guest *guest, int root_fd)
{
	_cleanup_close_ int etc = venv__mkdir_in_root(root_fd, "/etc", 0755);
	const char *name = words_get(&guest->config, "hostname");
	const char *dns = words_get(&guest->config, "dns");
	char text[512], address[16];

	if (etc < 0)
		guest_die(-etc, "cannot make /etc");
	if (name) {
		if (sethostname(name, strlen(name)) < 0)
			guest_say("cannot set the host name: %s", strerror(errno));
		(void)snprintf(text, sizeof(text), "%s\n", name);
		put_file(etc, "hostname", text, &guest->config, NULL);
		own_address(&guest->config, address);
		(void)snprintf(text, sizeof(text),
			       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
			       "%s\t%s\n",
			       address, name);
		put_file(etc, "hosts", text, &guest->config, "hosts");
	}
	if (dns) {
		(void)snprintf(text, sizeof(text), "nameserver %s\n", dns);
		put_file(etc, "resolv.conf", text, &guest->config, NULL);
	}
}

bool guest_folder_parse(const char *text, char tag[TAG_MAX + 1], bool *ret_read_only,
			const char **ret_path)
{
	size_t length = strcspn(text, " ");

	if (!length || length > TAG_MAX ||
	    (strncmp(text + length, " rw /", 5) != 0 && strncmp(text + length, " ro /", 5) != 0))
		return false;
	memcpy(tag, text, length);
	tag[length] = '\0';
	*ret_read_only = text[length + 2] == 'o';
	*ret_path = text + length + 4;
	return true;
}

/* The place is reached by descriptor: what links do in the image stays the image's. */
static int mount_folder(const char *tag, bool read_only, const char *path)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int place = root < 0 ? -errno : venv__mkdir_in_root(root, path, 0755);
	char where[32];

	if (place < 0)
		return place;
	(void)snprintf(where, sizeof(where), "/proc/self/fd/%d", place);
	return mount(tag, where, "virtiofs", read_only ? MS_RDONLY : 0, NULL) < 0 ? -errno : 0;
}

void guest_folders_mount(const struct guest *guest)
{
	const char *at = NULL, *text, *path;
	char tag[TAG_MAX + 1];
	bool read_only;

	while ((text = words_each(&guest->config, "folder", &at))) {
		int r = guest_folder_parse(text, tag, &read_only, &path)
				? mount_folder(tag, read_only, path)
				: -EINVAL;

		if (r < 0)
			guest_die(-r, "cannot mount the folder '%s'", text);
	}
}
