/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk with an ext4 file system of what a box's layers are together.
 *
 * Theory of operation: in a mount namespace of our own the layers become an overlay, which nobody else
 * sees and which goes with us; mke2fs reads it, inside the id map, so that owners are as guests see
 * them, whiteouts are honoured, and the overlay's own attributes are not there. The kernel finds layers
 * by mounts of the present namespace only, so their directories are opened again by path, with the ids
 * that we were started with: as guest root nobody may pass the store's directory. Then all rights but
 * that of reading every file go, and mke2fs runs with what is left.
 *
 * A directory that one layer alone has is shown by overlayfs as it is, with its whiteouts: names which
 * are not there when asked for. Where that is so, the directory is made once more in a layer on top of
 * all; of what is merged, whiteouts are left out. So is the root, when the topmost layer's archive said
 * nothing of it, as most do: it is what the highest layer makes of it that does.
 *
 * The features are said one by one, so that the same box becomes the same file system whatever
 * mke2fs.conf has: those that every kernel of the last ten years knows.
 */
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util/buf.h"
#include "../util/file.h"
#include "unpack.h"

enum { OUTPUT_MAX = 4096, BLOCK = 4096, INODE_SIZE = 256, INODES_SPARE = 16384, UUID_SIZE = 37 };
#define MIB (UINT64_C(1) << 20)
#define BYTES_MAX (UINT64_C(64) << 40)

static const char features[] =
	"none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
	"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

struct tool {
	const char *name;
	char *argv[32];    /* the last stays NULL */
	char text[8][160]; /* of arguments that are made */
	size_t n_argv, n_text;
};

/* ---- The tree ----------------------------------------------------------------------------- */

/* The same directory by a mount of our namespace. fd or -errno. */
static int open_again(int fd)
{
	char link[64], path[PATH_MAX];
	_cleanup_close_ int again = -1;
	struct stat a, b;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	again = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (again < 0 || fstat(fd, &a) < 0 || fstat(again, &b) < 0)
		return -errno;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? take_fd(&again) : -ESTALE;
}

/* Everything by path, while we are who we were. */
static int enter_mounts(struct mkdisk *m, venv_error **err)
{
	int r = unshare(CLONE_NEWNS) < 0 ? -errno : 0;

	if (r == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		r = -errno;
	for (size_t i = 0; r >= 0 && i < m->n_layers; i++) {
		r = open_again(m->layers[i]);
		m->layers[i] = r;
	}
	if (r >= 0)
		r = open_again(m->stage_fd);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot open the layers of the box");
	m->stage_fd = r;
	return 0;
}

static int open_made(int dir, const char *name)
{
	int fd;

	if (mkdirat(dir, name, 0755) < 0)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* An overlay of layers alone has two at the least: the last one is empty. */
static int mount_layers(struct mkdisk *m, venv_error **err)
{
	_cleanup_buf_ struct buf options = { 0 };
	char target[64];

	venv__buf_puts(&options, "userxattr,lowerdir=");
	if (m->top_used)
		venv__buf_printf(&options, "/proc/self/fd/%d:", m->top_fd);
	for (size_t i = 0; i < m->n_layers; i++)
		venv__buf_printf(&options, "/proc/self/fd/%d:", m->layers[i]);
	venv__buf_printf(&options, "/proc/self/fd/%d", m->empty_fd);
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", m->place_fd);
	if (options.failed)
		return venv__fail_nomem(err);
	if (mount("venv", target, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  options.data) < 0)
		return venv__fail_errno(err, errno, "cannot lay the box's layers over each other");
	m->tree_fd = openat(m->stage_fd, "merged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return m->tree_fd < 0 ? venv__fail_errno(err, errno, "cannot open the box's tree") : 0;
}

static int prepare_stage(struct mkdisk *m, venv_error **err)
{
	const struct {
		const char *name;
		int *fd;
	} made[] = { { "empty", &m->empty_fd }, { "top", &m->top_fd }, { "merged", &m->place_fd } };

	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		*made[i].fd = open_made(m->stage_fd, made[i].name);
		if (*made[i].fd < 0)
			return venv__fail_errno(err, -*made[i].fd,
						"cannot make a staging directory");
	}
	m->disk_fd = openat(m->stage_fd, "disk", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return m->disk_fd < 0 ? venv__fail_errno(err, errno, "cannot make a disk") : 0;
}

/* ---- Whiteouts that show ------------------------------------------------------------------- */

/* One directory of the tree once more, in the layer on top. 0 or -errno */
static int repeat_one(struct mkdisk *m, const char *path)
{
	_cleanup_close_ int like = venv__open_strict(*path ? m->tree_fd : m->layers[m->root], path,
						     O_RDONLY | O_DIRECTORY);
	_cleanup_close_ int fd = -1;
	uint64_t refused = 0;
	struct stat st;

	if (like < 0)
		return like;
	if (*path && mkdirat(m->top_fd, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = venv__open_strict(m->top_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || fstat(like, &st) < 0)
		return fd < 0 ? fd : -errno;
	return venv__dress_like(fd, like, &st, &refused);
}

/* The same of all that lead to it; twice, as each name made in one changes its time. */
static int repeat(struct mkdisk *m, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	int r = copy ? 0 : -ENOMEM;

	for (int pass = 0; r == 0 && pass < 2; pass++) {
		char *slash = strchr(copy, '/');

		r = repeat_one(m, "");
		for (; r == 0 && slash; slash = strchr(slash + 1, '/')) {
			*slash = '\0';
			r = repeat_one(m, copy);
			*slash = '/';
		}
		if (r == 0)
			r = repeat_one(m, copy);
	}
	m->top_used = true;
	return r;
}

/* ---- How large ---------------------------------------------------------------------------- */

static uint64_t room_of(const struct stat *st)
{
	uint64_t size = MIN((uint64_t)st->st_size, (uint64_t)st->st_blocks * 512);

	if (S_ISDIR(st->st_mode))
		size = MAX((uint64_t)st->st_size, (uint64_t)BLOCK);
	else if (S_ISREG(st->st_mode) && st->st_nlink > 1)
		size /= st->st_nlink; /* each of its names comes by */
	return (size + BLOCK - 1) / BLOCK * BLOCK + INODE_SIZE;
}

/* An entry that was listed and is not there: 0, or a number that tells why not. */
static int shown_whiteout(struct mkdisk *m, const FTSENT *e, size_t prefix)
{
	_cleanup_free_ char *parent = NULL;
	char *slash;

	if (e->fts_errno != ENOENT || m->top_used_before || strlen(e->fts_path) < prefix)
		return e->fts_errno;
	parent = strdup(e->fts_path + prefix);
	if (!parent)
		return ENOMEM;
	slash = strrchr(parent, '/');
	*(slash ? slash : parent) = '\0';
	return -repeat(m, parent);
}

static int count_entry(struct mkdisk *m, const FTSENT *e, size_t prefix)
{
	m->entries++;
	if (e->fts_info == FTS_NS)
		return shown_whiteout(m, e, prefix);
	if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
		return e->fts_errno;
	if (e->fts_info != FTS_DP)
		m->content += room_of(e->fts_statp);
	return 0;
}

static int measure(struct mkdisk *m, venv_error **err)
{
	char path[64];
	char *paths[] = { path, NULL };
	int number = 0, prefix;
	FTSENT *e;
	FTS *fts;

	prefix = snprintf(path, sizeof(path), "/proc/self/fd/%d/", m->tree_fd);
	m->top_used_before = m->top_used;
	m->entries = m->content = 0;
	fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!fts)
		return venv__fail_errno(err, errno, "cannot read the box's tree");
	errno = 0;
	while (!number && (e = fts_read(fts))) {
		number = count_entry(m, e, (size_t)prefix);
		errno = 0;
	}
	number = number ? number : errno;
	(void)fts_close(fts);
	return number ? venv__fail_errno(err, number, "cannot read the box's tree") : 0;
}

/* The tree as the guest is to see it, and how much it is. */
static int open_tree_of_box(struct mkdisk *m, venv_error **err)
{
	char target[64];
	int number, r = mount_layers(m, err);

	if (r == 0)
		r = measure(m, err);
	if (r == 0 && m->root && (number = repeat(m, "")) < 0)
		r = venv__fail_errno(err, -number, "cannot make the root directory of the box");
	if (r < 0 || !m->top_used)
		return r;
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", m->tree_fd);
	(void)umount2(target, MNT_DETACH);
	(void)close(take_fd(&m->tree_fd));
	r = mount_layers(m, err);
	return r < 0 ? r : measure(m, err);
}

static int decide_size(struct mkdisk *m, venv_error **err)
{
	uint64_t least = m->content + m->content / 10 + 16 * MIB;

	if (!m->bytes)
		m->bytes = m->content + m->content / 4 + 64 * MIB;
	m->bytes = (m->bytes + MIB - 1) / MIB * MIB;
	if (m->bytes > BYTES_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "a disk of %llu bytes is too large",
				  (unsigned long long)m->bytes);
	if (m->bytes >= least)
		return 0;
	return venv__hint(
		venv__fail(err, VENV_ERR_INVALID,
			   "a disk of %llu MiB is too small: the box alone takes %llu MiB",
			   (unsigned long long)(m->bytes / MIB),
			   (unsigned long long)(least / MIB + 1)),
		err, "set 'disk' to more, or leave it away");
}

/* ---- Running the tools -------------------------------------------------------------------- */

static void add_argument(struct tool *tool, const char *text)
{
	tool->argv[tool->n_argv++] = (char *)(uintptr_t)text;
}

static void _printf_(2, 3) add_text(struct tool *tool, const char *format, ...)
{
	char *text = tool->text[tool->n_text++];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(tool->text[0]), format, args);
	va_end(args);
	add_argument(tool, text);
}

_Noreturn static void execute(const struct tool *tool, int tree_fd, int disk_fd, int output)
{
	static const char *const places[] = { "/usr/sbin", "/sbin", "/usr/local/sbin" };
	static char no_config[] = "MKE2FS_CONFIG=/dev/null", locale[] = "LC_ALL=C";
	char *envp[] = { no_config, locale, NULL };
	char path[64];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(output, 1);
	(void)dup2(output, 2);
	(void)fcntl(tree_fd, F_SETFD, 0);
	(void)fcntl(disk_fd, F_SETFD, 0);
	(void)fcntl(3, F_SETFD, FD_CLOEXEC); /* the command, and its lock */
	(void)fcntl(4, F_SETFD, FD_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", places[i], tool->name);
		(void)execve(path, tool->argv, envp);
	}
	_exit(errno == ENOENT ? 127 : 126);
}

static void read_output(int fd, struct buf *output)
{
	char chunk[1024];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		if (output->length < OUTPUT_MAX)
			venv__buf_add(output, chunk, (size_t)n);
}

static int tool_failed(const struct mkdisk *m, const struct tool *tool, int status,
		       const struct buf *output, venv_error **err)
{
	bool full = output->data && strstr(output->data, "No space left on device");
	int r;

	if (status == 127 << 8)
		return venv__hint(venv__fail(err, VENV_ERR_HOST,
					     "'%s' is not installed: it makes disks of boxes",
					     tool->name),
				  err, "install the package e2fsprogs");
	if (full)
		return venv__fail_errno(err, ENOSPC, "a disk of %llu MiB",
					(unsigned long long)(m->bytes / MIB));
	r = venv__fail(err, VENV_ERR_SYSTEM, "%s failed with status %d", tool->name,
		       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return venv__error_set_details(r, err, output->data);
}

static int run_tool(const struct mkdisk *m, const struct tool *tool, venv_error **err)
{
	_cleanup_buf_ struct buf output = { 0 };
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], status = 0;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return venv__fail_errno(err, errno, "cannot start %s", tool->name);
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return venv__fail_errno(err, errno, "cannot start %s", tool->name);
	if (pid == 0)
		execute(tool, m->tree_fd, m->disk_fd, theirs);
	(void)close(take_fd(&theirs));
	read_output(ours, &output);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status ? tool_failed(m, tool, status, &output, err) : 0;
}

/* A uuid from 32 hex digits, of which a few have to say which kind of uuid it is. */
static void make_uuid(const char *digits, char ret[UUID_SIZE])
{
	(void)snprintf(ret, UUID_SIZE, "%.8s-%.4s-4%.3s-8%.3s-%.12s", digits, digits + 8,
		       digits + 13, digits + 17, digits + 20);
}

static int run_mke2fs(struct mkdisk *m, const struct stat *root, venv_error **err)
{
	static const char *const fixed[] = { "mke2fs", "-q",  "-F", "-t", "ext4", "-b",    "4096",
					     "-I",     "256", "-m", "1",  "-O",   features };
	uint64_t inodes = MAX(m->entries + m->entries / 4 + INODES_SPARE, m->bytes / 16384);
	char uuid[UUID_SIZE], seed[UUID_SIZE];
	struct tool tool = { .name = fixed[0] };

	make_uuid(m->id, uuid);
	make_uuid(m->id + 32, seed);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		add_argument(&tool, fixed[i]);
	add_argument(&tool, "-U");
	add_argument(&tool, uuid);
	add_argument(&tool, "-E");
	add_text(&tool, "nodiscard,lazy_itable_init=0,root_owner=%u:%u,hash_seed=%s", root->st_uid,
		 root->st_gid, seed);
	add_argument(&tool, "-N");
	add_text(&tool, "%llu", (unsigned long long)inodes);
	add_argument(&tool, "-d");
	add_text(&tool, "/proc/self/fd/%d", m->tree_fd);
	add_text(&tool, "/proc/self/fd/%d", m->disk_fd);
	add_text(&tool, "%llu", (unsigned long long)(m->bytes / BLOCK));
	return run_tool(m, &tool, err);
}

/* mke2fs (1.47) copies all but the root's own mode and extended attributes. */
static int set_root_mode(struct mkdisk *m, const struct stat *root, venv_error **err)
{
	struct tool tool = { .name = "debugfs" };

	if ((root->st_mode & 07777) == 0755)
		return 0;
	add_argument(&tool, "debugfs");
	add_argument(&tool, "-w");
	add_argument(&tool, "-R");
	add_text(&tool, "set_inode_field / mode 0%o", root->st_mode & (07777 | S_IFMT));
	add_text(&tool, "/proc/self/fd/%d", m->disk_fd);
	return run_tool(m, &tool, err);
}

int venv__mkdisk(struct mkdisk *m, venv_error **err)
{
	struct stat root;
	int r = enter_mounts(m, err);

	if (r == 0)
		r = venv__sandbox_become_root(err);
	if (r == 0)
		r = prepare_stage(m, err);
	if (r == 0)
		r = open_tree_of_box(m, err);
	if (r == 0)
		r = decide_size(m, err);
	if (r < 0)
		return r;
	if (fstat(m->tree_fd, &root) < 0 || ftruncate(m->disk_fd, (off_t)m->bytes) < 0)
		return venv__fail_errno(err, errno, "cannot make a disk");
	r = venv__sandbox_tools(m->tree_fd, m->disk_fd, err);
	if (r == 0)
		r = run_mke2fs(m, &root, err);
	return r < 0 ? r : set_root_mode(m, &root, err);
}
