/* SPDX-License-Identifier: Apache-2.0 */
/* What takes more than a row: open files without names, locks of two processes, reading while deleting. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "posix_files.h"

enum { FILES = 600, CHILDREN = 4, ROUNDS = 200, NAME = 64 };

static int new_file(const char *name, const char *text)
{
	int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0644);

	if (fd >= 0 && *text && write(fd, text, strlen(text)) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool holds(int fd, off_t at, const char *text)
{
	char buffer[NAME];
	ssize_t n = pread(fd, buffer, sizeof(buffer), at);

	return n == (ssize_t)strlen(text) && memcmp(buffer, text, (size_t)n) == 0;
}

static void sleep_ms(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* The status of a child, 0 when all was well in it; -1: there is none. */
static int wait_for(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* ---- files without names ------------------------------------------------------------------------- */

static int unlinked(void)
{
	struct stat st;
	int fd = new_file("f", "text");

	POSIX_MUST(fd >= 0 && unlink("f") == 0);
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 4);
	POSIX_MUST(holds(fd, 0, "text") && pwrite(fd, "J", 1, 0) == 1 && holds(fd, 0, "Jext"));
	POSIX_MUST(ftruncate(fd, 2) == 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0);
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_size == 2 && (st.st_mode & 07777) == 0600);
	POSIX_MUST(new_file("f", "other") >= 0 && holds(fd, 0, "Je"));
	POSIX_MUST(close(fd) == 0);
	return POSIX_OK;
}

static int renamed_over(void)
{
	int old = new_file("old", "old"), new = new_file("new", "new"), fd;

	POSIX_MUST(old >= 0 && new >= 0 && rename("new", "old") == 0);
	POSIX_MUST(holds(old, 0, "old") && holds(new, 0, "new"));
	fd = open("old", O_RDONLY | O_CLOEXEC);
	POSIX_MUST(fd >= 0 && holds(fd, 0, "new"));
	POSIX_MUST(close(fd) == 0 && close(old) == 0 && close(new) == 0);
	return POSIX_OK;
}

static int removed_directory(void)
{
	struct stat st;
	char path[NAME * 64];
	int fd;

	POSIX_MUST(mkdir("d", 0755) == 0);
	fd = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	POSIX_MUST(fd >= 0 && rmdir("d") == 0);
	POSIX_MUST(fstat(fd, &st) == 0);
	POSIX_MUST(openat(fd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) < 0 && errno == ENOENT);
	POSIX_MUST(mkdirat(fd, "e", 0755) < 0 && errno == ENOENT);
	POSIX_MUST(close(fd) == 0);
	POSIX_MUST(getcwd(path, sizeof(path)) != NULL);
	return POSIX_OK;
}

/* O_TMPFILE, and its name afterwards; where there is none it says so. */
static int without_name(void)
{
	char path[NAME];
	struct stat st;
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640), named;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		return POSIX_LEFT_OUT;
	POSIX_MUST(fd >= 0 && write(fd, "text", 4) == 4);
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	POSIX_MUST(linkat(AT_FDCWD, path, AT_FDCWD, "f", AT_SYMLINK_FOLLOW) == 0);
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_nlink == 1 && close(fd) == 0);
	named = open("f", O_RDONLY | O_CLOEXEC);
	POSIX_MUST(named >= 0 && holds(named, 0, "text") && close(named) == 0);
	fd = open(".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	POSIX_MUST(fd >= 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	POSIX_MUST(linkat(AT_FDCWD, path, AT_FDCWD, "g", AT_SYMLINK_FOLLOW) < 0 && errno == ENOENT);
	POSIX_MUST(close(fd) == 0);
	return POSIX_OK;
}

/* Kernels have changed their minds about which errno; never is a directory made, or a file opened as one. */
static int create_directory_by_open(void)
{
	struct stat st;

	POSIX_MUST(open("d", O_CREAT | O_DIRECTORY | O_RDWR | O_CLOEXEC, 0755) < 0);
	POSIX_MUST(errno == EINVAL || errno == ENOTDIR || errno == EISDIR);
	POSIX_MUST(lstat("d", &st) < 0 || S_ISREG(st.st_mode));
	return POSIX_OK;
}

static int masked(void)
{
	struct stat st;
	mode_t before = umask(027);
	int fd = open("f", O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	int made = mkdir("d", 0777), fifo = mkfifo("p", 0666);

	(void)umask(before);
	POSIX_MUST(fd >= 0 && made == 0 && fifo == 0 && close(fd) == 0);
	POSIX_MUST(stat("f", &st) == 0 && (st.st_mode & 07777) == 0640);
	POSIX_MUST(stat("d", &st) == 0 && (st.st_mode & 07777) == 0750);
	POSIX_MUST(stat("p", &st) == 0 && (st.st_mode & 07777) == 0640);
	return POSIX_OK;
}

/* A descriptor has the rights that it was opened with. */
static int rights_of_descriptor(void)
{
	int fd = new_file("f", "text"), reading;
	char byte;

	POSIX_MUST(fd >= 0 && close(fd) == 0);
	fd = open("f", O_WRONLY | O_CLOEXEC);
	reading = open("f", O_RDONLY | O_CLOEXEC);
	POSIX_MUST(fd >= 0 && reading >= 0 && chmod("f", 0) == 0);
	POSIX_MUST(pread(fd, &byte, 1, 0) < 0 && errno == EBADF);
	POSIX_MUST(pwrite(reading, "x", 1, 0) < 0 && errno == EBADF);
	POSIX_MUST(pwrite(fd, "J", 1, 0) == 1 && holds(reading, 0, "Jext"));
	POSIX_MUST(pwrite(fd, "x", 1, -1) < 0 && errno == EINVAL);
	POSIX_MUST(close(fd) == 0 && close(reading) == 0);
	return POSIX_OK;
}

/* ---- contents ------------------------------------------------------------------------------------ */

static int sparse(void)
{
	const off_t far = (off_t)3 << 30;
	int fd = new_file("f", "");
	struct stat st;
	char bytes[8];

	POSIX_MUST(fd >= 0 && pwrite(fd, "end", 3, far) == 3);
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_size == far + 3 && st.st_blocks < 20000);
	POSIX_MUST(pread(fd, bytes, 8, far / 2) == 8 && memcmp(bytes, "\0\0\0\0\0\0\0\0", 8) == 0);
	POSIX_MUST(pread(fd, bytes, 8, far + 3) == 0 && pread(fd, bytes, 8, far + 999) == 0);
	POSIX_MUST(lseek(fd, 0, SEEK_HOLE) <= far && lseek(fd, far, SEEK_DATA) == far);
	POSIX_MUST(lseek(fd, far, SEEK_HOLE) == far + 3 && lseek(fd, 0, SEEK_END) == far + 3);
	POSIX_MUST(lseek(fd, far + 3, SEEK_DATA) < 0 && errno == ENXIO);
	POSIX_MUST(lseek(fd, -1, SEEK_SET) < 0 && errno == EINVAL);
	POSIX_MUST(close(fd) == 0);
	return POSIX_OK;
}

static int mapped(void)
{
	int fd = new_file("f", "text");
	char *map;

	POSIX_MUST(fd >= 0 && ftruncate(fd, 10000) == 0);
	map = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED && errno == ENODEV)
		return POSIX_LEFT_OUT;
	POSIX_MUST(map != MAP_FAILED && memcmp(map, "text", 5) == 0);
	POSIX_MUST(pwrite(fd, "J", 1, 0) == 1 && map[0] == 'J');
	memcpy(map + 9000, "far", 3);
	POSIX_MUST(msync(map, 10000, MS_SYNC) == 0);
	POSIX_MUST(unlink("f") == 0);
	memcpy(map + 5000, "gone", 4);
	POSIX_MUST(munmap(map, 10000) == 0);
	map = mmap(NULL, 10000, PROT_READ, MAP_PRIVATE, fd, 0);
	POSIX_MUST(map != MAP_FAILED && memcmp(map + 9000, "far", 4) == 0);
	POSIX_MUST(memcmp(map + 5000, "gone", 5) == 0 && munmap(map, 10000) == 0 && close(fd) == 0);
	return POSIX_OK;
}

/* Lines that are appended by several at once all arrive, whole. */
static int appended_together(void)
{
	pid_t child[CHILDREN];
	unsigned seen[CHILDREN] = { 0 };
	char line[NAME];
	FILE *file;

	for (int i = 0; i < CHILDREN; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			int fd = open("f", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);

			for (int j = 0; j < ROUNDS; j++) {
				int n = snprintf(line, sizeof(line), "%d says %d\n", i, j);

				if (write(fd, line, (size_t)n) != n)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int i = 0; i < CHILDREN; i++)
		POSIX_MUST(wait_for(child[i]) == 0);
	file = fopen("f", "re");
	POSIX_MUST(file != NULL);
	while (fgets(line, sizeof(line), file)) {
		char *says;
		unsigned long who = strtoul(line, &says, 10);

		POSIX_MUST(who < CHILDREN && strncmp(says, " says ", 6) == 0);
		POSIX_MUST(strtoul(says + 6, NULL, 10) == seen[who]++);
	}
	(void)fclose(file);
	for (int i = 0; i < CHILDREN; i++)
		POSIX_MUST(seen[i] == ROUNDS);
	return POSIX_OK;
}

/* Who replaces a file by rename never lets others see none, or half of one. */
static int replaced_at_once(void)
{
	pid_t child;
	int fd = new_file("f", "first");

	POSIX_MUST(fd >= 0 && close(fd) == 0);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < ROUNDS; i++) {
			fd = open("new", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
			if (fd < 0 || write(fd, "later", 5) != 5 || close(fd) < 0 ||
			    rename("new", "f") < 0)
				_exit(1);
		}
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		fd = open("f", O_RDONLY | O_CLOEXEC);
		POSIX_MUST(fd >= 0 && (holds(fd, 0, "first") || holds(fd, 0, "later")));
		POSIX_MUST(close(fd) == 0);
	}
	POSIX_MUST(wait_for(child) == 0);
	return POSIX_OK;
}

/* ---- directories --------------------------------------------------------------------------------- */

static int make_files(unsigned n)
{
	char name[NAME];

	for (unsigned i = 0; i < n; i++) {
		int fd;

		(void)snprintf(name, sizeof(name), "a rather long name of file %u", i);
		fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0 || close(fd) < 0)
			return -1;
	}
	return 0;
}

/* The number in a name of make_files(), or -1. */
static long number_in(const char *name)
{
	const char *digits = strrchr(name, ' ');

	return digits ? strtol(digits, NULL, 10) : -1;
}

/* What stays is seen once; what is deleted meanwhile at most once. */
static int read_while_deleting(void)
{
	unsigned char seen[FILES] = { 0 };
	const struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	POSIX_MUST(make_files(FILES) == 0);
	dir = opendir(".");
	POSIX_MUST(dir != NULL);
	while ((entry = readdir(dir))) {
		long i = number_in(entry->d_name);

		if (i < 0)
			continue;
		POSIX_MUST(i < FILES && seen[i]++ == 0);
		if (i % 2)
			POSIX_MUST(unlink(entry->d_name) == 0);
		n++;
	}
	POSIX_MUST(n == FILES && closedir(dir) == 0);
	dir = opendir(".");
	POSIX_MUST(dir != NULL);
	for (n = 0; (entry = readdir(dir));)
		n += number_in(entry->d_name) >= 0;
	POSIX_MUST(n == FILES / 2 && closedir(dir) == 0);
	return POSIX_OK;
}

/* The names after a place, and again after going back to it. */
static int seek_in_directory(void)
{
	long at[FILES + 2], i, n = 0;
	char names[FILES + 2][NAME];
	const struct dirent *entry;
	DIR *dir;

	POSIX_MUST(make_files(FILES) == 0);
	dir = opendir(".");
	POSIX_MUST(dir != NULL);
	for (; n < FILES + 2; n++) {
		at[n] = telldir(dir);
		entry = readdir(dir);
		POSIX_MUST(entry != NULL);
		(void)snprintf(names[n], NAME, "%.60s", entry->d_name);
	}
	POSIX_MUST(readdir(dir) == NULL);
	for (i = n - 1; i >= 0; i -= 7) {
		seekdir(dir, at[i]);
		entry = readdir(dir);
		POSIX_MUST(entry && strcmp(entry->d_name, names[i]) == 0);
	}
	rewinddir(dir);
	POSIX_MUST((entry = readdir(dir)) && strcmp(entry->d_name, names[0]) == 0);
	POSIX_MUST(closedir(dir) == 0);
	return POSIX_OK;
}

/* Who begins anew sees what was made since. */
static int rewound(void)
{
	unsigned n = 0;
	DIR *dir = opendir(".");

	POSIX_MUST(dir != NULL);
	while (readdir(dir))
		n++;
	POSIX_MUST(n == 2 && make_files(3) == 0);
	rewinddir(dir);
	for (n = 0; readdir(dir);)
		n++;
	POSIX_MUST(n == 5 && closedir(dir) == 0);
	return POSIX_OK;
}

/* Types and numbers in entries are those of the files. */
static int entries(void)
{
	const struct dirent *entry;
	struct stat st;
	DIR *dir;

	POSIX_MUST(make_files(2) == 0 && mkdir("d", 0755) == 0 && symlink("d", "s") == 0);
	POSIX_MUST(mkfifo("p", 0600) == 0);
	dir = opendir(".");
	POSIX_MUST(dir != NULL);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, "..") == 0)
			continue;
		POSIX_MUST(lstat(entry->d_name, &st) == 0 && st.st_ino == entry->d_ino);
		POSIX_MUST(entry->d_type == DT_UNKNOWN ||
			   (mode_t)DTTOIF(entry->d_type) == (st.st_mode & S_IFMT));
	}
	POSIX_MUST(closedir(dir) == 0);
	return POSIX_OK;
}

/* ---- locks of two processes ---------------------------------------------------------------------- */

enum lock_kind { FLOCK, RECORD, OF_FILE };

static int take(enum lock_kind kind, int fd, bool wait, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5 };
	int command =
		kind == RECORD ? (wait ? F_SETLKW : F_SETLK) : (wait ? F_OFD_SETLKW : F_OFD_SETLK);

	if (kind == FLOCK)
		return flock(fd, (type == F_RDLCK   ? LOCK_SH
				  : type == F_WRLCK ? LOCK_EX
						    : LOCK_UN) |
					 (wait ? 0 : LOCK_NB));
	return fcntl(fd, command, &lock);
}

/* Over FUSE files are closed after close(): locks that were given up by it may be there for a moment. */
static int take_soon(enum lock_kind kind, int fd, short type)
{
	int r;

	for (int i = 0; (r = take(kind, fd, false, type)) < 0 && errno == EAGAIN && i < 100; i++)
		sleep_ms(10);
	return r;
}

/* What another process is told when it tries: 0 or an errno. */
static int try_elsewhere(enum lock_kind kind, bool wait, short type)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("f", O_RDWR | O_CLOEXEC);

		_exit(fd < 0 ? 255 : take(kind, fd, wait, type) < 0 ? errno : 0);
	}
	status = wait_for(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int lock_both(enum lock_kind kind)
{
	int fd = new_file("f", "");
	struct timespec before, after;
	pid_t child;
	int status;

	POSIX_MUST(fd >= 0 && take(kind, fd, false, F_RDLCK) == 0);
	POSIX_MUST(try_elsewhere(kind, false, F_RDLCK) == 0);
	POSIX_MUST(try_elsewhere(kind, false, F_WRLCK) == EAGAIN);
	POSIX_MUST(take_soon(kind, fd, F_WRLCK) == 0);
	POSIX_MUST(try_elsewhere(kind, false, F_RDLCK) == EAGAIN);
	POSIX_MUST(take(kind, fd, false, F_UNLCK) == 0);
	POSIX_MUST(try_elsewhere(kind, false, F_WRLCK) == 0);
	/* who waits gets it when the other ends, whatever he ends of */
	child = fork();
	if (child == 0) {
		fd = open("f", O_RDWR | O_CLOEXEC);
		if (fd < 0 || take(kind, fd, true, F_WRLCK) < 0 || mkdir("locked", 0755) < 0)
			_exit(errno);
		sleep_ms(1000); /* we may see the directory late */
		(void)kill(getpid(), SIGKILL);
	}
	while (access("locked", F_OK) < 0) {
		if (waitpid(child, &status, WNOHANG) == child) {
			errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
			return posix_broken(__FILE__, __LINE__, "who waits gets it");
		}
		sleep_ms(5);
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &before);
	POSIX_MUST(take(kind, fd, true, F_WRLCK) == 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &after);
	POSIX_MUST((after.tv_sec - before.tv_sec) * 1000 +
			   (after.tv_nsec - before.tv_nsec) / 1000000 >
		   100);
	POSIX_MUST(WTERMSIG(wait_for(child)) == SIGKILL && close(fd) == 0);
	return POSIX_OK;
}

static int flock_both(void)
{
	return lock_both(FLOCK);
}

static int record_lock_both(void)
{
	return lock_both(RECORD);
}

static int file_lock_both(void)
{
	return lock_both(OF_FILE);
}

static int other_ranges(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100 };
	int fd = new_file("f", ""), second;

	POSIX_MUST(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
	POSIX_MUST(try_elsewhere(RECORD, false, F_WRLCK) == 0);
	lock.l_start = 14;
	lock.l_len = 1;
	POSIX_MUST(fcntl(fd, F_SETLK, &lock) == 0);
	POSIX_MUST(try_elsewhere(RECORD, false, F_WRLCK) == EAGAIN);
	/* any close() of the file gives up all records of the process */
	second = open("f", O_RDONLY | O_CLOEXEC);
	POSIX_MUST(second >= 0 && close(second) == 0);
	POSIX_MUST(try_elsewhere(RECORD, false, F_WRLCK) == 0);
	POSIX_MUST(close(fd) == 0);
	return POSIX_OK;
}

/* F_GETLK names the range, the kind, and who holds it. */
static int who_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5 };
	int fd = new_file("f", ""), status;
	pid_t parent = getpid(), child;

	POSIX_MUST(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
	child = fork();
	if (child == 0) {
		struct flock asked = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
		int mine = open("f", O_RDWR | O_CLOEXEC);

		if (mine < 0 || fcntl(mine, F_GETLK, &asked) < 0)
			_exit(1);
		if (asked.l_type != F_WRLCK || asked.l_start != 10 || asked.l_len != 5)
			_exit(2);
		_exit(asked.l_pid == parent ? 0 : 3);
	}
	status = wait_for(child);
	POSIX_MUST(status == 0);
	lock.l_type = F_UNLCK;
	POSIX_MUST(fcntl(fd, F_SETLK, &lock) == 0);
	lock.l_type = F_WRLCK;
	POSIX_MUST(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK && close(fd) == 0);
	return POSIX_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------ */

static int socket_answers(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "s" };
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	char bytes[4];

	POSIX_MUST(bind(server, (struct sockaddr *)&address, sizeof(address)) == 0);
	POSIX_MUST(listen(server, 1) == 0);
	POSIX_MUST(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	peer = accept(server, NULL, NULL);
	POSIX_MUST(peer >= 0 && write(client, "ping", 4) == 4 && read(peer, bytes, 4) == 4);
	(void)close(peer);
	(void)close(client);
	(void)close(server);
	return POSIX_OK;
}

static int pipe_answers(void)
{
	pid_t child;
	int fd;
	char bytes[4];

	POSIX_MUST(mkfifo("p", 0600) == 0);
	child = fork();
	if (child == 0) {
		fd = open("p", O_WRONLY | O_CLOEXEC);
		_exit(fd < 0 || write(fd, "ping", 4) != 4);
	}
	fd = open("p", O_RDONLY | O_CLOEXEC);
	POSIX_MUST(fd >= 0 && read(fd, bytes, 4) == 4 && close(fd) == 0);
	POSIX_MUST(wait_for(child) == 0);
	return POSIX_OK;
}

static int space(void)
{
	struct statvfs st;
	int fd = new_file("f", "text");

	POSIX_MUST(statvfs(".", &st) == 0 && st.f_namemax == 255);
	POSIX_MUST(st.f_bsize > 0 && st.f_frsize > 0 && st.f_blocks > 0);
	POSIX_MUST(st.f_bfree <= st.f_blocks && st.f_bavail <= st.f_bfree);
	POSIX_MUST(fd >= 0 && fstatvfs(fd, &st) == 0 && st.f_blocks > 0);
	POSIX_MUST(syncfs(fd) == 0 && fdatasync(fd) == 0 && close(fd) == 0);
	return POSIX_OK;
}

static int many_links(void)
{
	char name[NAME];
	struct stat st;
	int fd = new_file("f", "text");

	POSIX_MUST(fd >= 0);
	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(name, sizeof(name), "l%d", i);
		POSIX_MUST(link("f", name) == 0);
	}
	POSIX_MUST(fstat(fd, &st) == 0 && st.st_nlink == ROUNDS + 1);
	POSIX_MUST(unlink("f") == 0 && stat("l7", &st) == 0 && st.st_nlink == ROUNDS);
	POSIX_MUST(holds(fd, 0, "text") && close(fd) == 0);
	return POSIX_OK;
}

static int deep(void)
{
	int depth = ROUNDS / 2, fd;

	for (int i = 0; i < depth; i++)
		POSIX_MUST(mkdir("d", 0755) == 0 && chdir("d") == 0);
	fd = new_file("f", "deep");
	POSIX_MUST(fd >= 0 && holds(fd, 0, "deep") && close(fd) == 0);
	for (int i = 0; i < depth; i++)
		POSIX_MUST(chdir("..") == 0);
	POSIX_MUST(access("d/d/d", F_OK) == 0);
	return POSIX_OK;
}

const struct posix_check posix_checks[] = {
	{ "unlink: an open file lives on", unlinked, 0 },
	{ "rename: an open file lives on when another takes its name", renamed_over, 0 },
	{ "rmdir: nothing is made in a directory that is gone", removed_directory, 0 },
	{ "open: O_TMPFILE", without_name, 0 },
	{ "open: O_CREAT|O_DIRECTORY", create_directory_by_open, 0 },
	{ "open: the mask", masked, 0 },
	{ "open: a descriptor keeps its rights", rights_of_descriptor, 0 },
	{ "contents: holes", sparse, 0 },
	{ "contents: mappings", mapped, 0 },
	{ "contents: appended by several at once", appended_together, 0 },
	{ "contents: replaced by rename", replaced_at_once, 0 },
	{ "list: while files are deleted", read_while_deleting, 0 },
	{ "list: places", seek_in_directory, 0 },
	{ "list: again", rewound, 0 },
	{ "list: types and numbers", entries, 0 },
	{ "lock: flock() of two", flock_both, 0 },
	{ "lock: records of two", record_lock_both, 0 },
	{ "lock: open files of two", file_lock_both, 0 },
	{ "lock: ranges, and close()", other_ranges, 0 },
	{ "lock: who holds it", who_locks, 0 },
	{ "socket: answers", socket_answers, 0 },
	{ "pipe: answers", pipe_answers, 0 },
	{ "space", space, 0 },
	{ "link: many", many_links, 0 },
	{ "directories: deep", deep, 0 },
};

const size_t posix_n_checks = sizeof(posix_checks) / sizeof(*posix_checks);
