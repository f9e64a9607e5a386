/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for the FUSE server of shared folders, on a small tree in an empty root of its own (a tmpfs):
 * what a request reaches outside of that is not there. A record of the input is
 *
 *	opcode, node, pieces (buffers of that size; 0: one), room (of the answer, in 32 bytes),
 *	length (two bytes), that many bytes behind the header
 *
 * Numbers of nodes and open files are small here, so that guessed ones are often right. Corpus and crash
 * files cannot be reached from inside: an input that crashes is printed in base64.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/server.h"
#include "tests/fuzz/own_root.h"
#include "util/file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int __lsan_is_turned_off(void); /* NOLINT: the sanitizer's name */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { RECORD = 6, PIECES_MAX = 200, IN_MAX = 8192 };

static int proc_fd = -1;

/* It needs /proc, which is not in that root. */
int __lsan_is_turned_off(void) /* NOLINT */
{
	return 1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rlimit small = { 1 << 20, 1 << 20 };

	proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if ((geteuid() != 0 && unshare(CLONE_NEWUSER) < 0) || proc_fd < 0 ||
	    unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,nr_inodes=10000") < 0 ||
	    chroot("/tmp") < 0 || chdir("/") < 0) {
		perror("fuzz_vmm_fs: no root of its own");
		_exit(77);
	}
	for (int i = 1; i < *argc; i++)
		make_path((*argv)[i]);
	(void)umask(0);
	(void)setrlimit(RLIMIT_FSIZE, &small);
	return 0;
}

static int make_tree(void)
{
	int root;

	(void)venv__tree_delete(AT_FDCWD, "/tree", NULL);
	if (mkdir("/tree", 0755) < 0)
		return -1;
	root = open("/tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)mkdirat(root, "d", 0755);
	(void)mkdirat(root, ".machines", 0755);
	(void)symlinkat("/", root, "l");
	(void)mkfifoat(root, "p", 0666);
	(void)close(openat(root, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	return root;
}

/* size bytes as buffers of their own, each of at most piece bytes */
static size_t cut(struct iovec *iov, const void *data, size_t size, size_t piece)
{
	size_t n = 0;

	for (size_t at = 0; at < size && n < PIECES_MAX; n++) {
		size_t part = piece && piece < size - at && n < PIECES_MAX - 1 ? piece : size - at;

		iov[n] = (struct iovec){ .iov_base = malloc(part), .iov_len = part };
		if (!iov[n].iov_base)
			abort();
		if (data)
			memcpy(iov[n].iov_base, (const char *)data + at, part);
		at += part;
	}
	return n;
}

static void ask(struct fs_server *server, uint64_t unique, const unsigned char *record,
		const void *data, size_t size)
{
	static char request[sizeof(struct fuse_in_header) + IN_MAX];
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + size),
		.opcode = record[0],
		.unique = unique,
		.nodeid = record[1],
	};
	struct iovec in[PIECES_MAX], out[PIECES_MAX];
	struct fs_request r = { .in = in, .out = out };
	ssize_t n;

	memcpy(request, &header, sizeof(header));
	memcpy(request + sizeof(header), data, size);
	r.n_in = cut(in, request, sizeof(header) + size, record[2]);
	r.n_out = cut(out, NULL, (size_t)record[3] * 32, record[2]);
	n = fs_serve(server, &r, record[2] & 1);
	if (n > (ssize_t)record[3] * 32)
		abort();
	for (size_t i = 0; i < r.n_in; i++)
		free(in[i].iov_base);
	for (size_t i = 0; i < r.n_out; i++)
		free(out[i].iov_base);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char init[RECORD] = { FUSE_INIT, 0, 0, 8 };
	const struct fuse_init_in in = { .major = 7, .minor = 38, .flags = ~0U };
	const struct fs_options options = { .max_descriptors = 64, .max_inodes = 64 };
	struct fs_server *server;
	uint64_t unique = 0;
	int root;

	(void)signal(SIGXFSZ, SIG_IGN); /* the fuzzer has taken it after the initialization */
	root = make_tree();
	if (root < 0 || fs_server_new(root, dup(proc_fd), &options, &server, NULL) < 0)
		abort();
	ask(server, ++unique, init, &in, sizeof(in));
	while (size >= RECORD) {
		size_t n = (size_t)(data[4] << 8 | data[5]) % IN_MAX;

		n = n < size - RECORD ? n : size - RECORD;
		ask(server, ++unique, data, data + RECORD, n);
		data += RECORD + n;
		size -= RECORD + n;
	}
	fs_server_free(server);
	(void)close(root);
	return 0;
}
