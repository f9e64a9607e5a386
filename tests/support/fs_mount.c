/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount a directory through the FUSE server of the monitor and the host's own kernel, as root:
 *
 *	fs_mount [-r] [-v] [-u GUEST_UID] [-g GUEST_GID] [-t THREADS] [-d DESCRIPTORS] DIRECTORY MOUNT_POINT
 *
 * Stays until it is unmounted. What a guest's kernel would send comes from /dev/fuse then; requests that
 * wait for locks go to the pool, as in virtio/fs.c. With -t 0 all go there unless they can be served at
 * once. -r: read-only, by the server alone. -v: a volume, as root's.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/pool.h"
#include "jail/jail.h"
#include "util/idmap.h"

enum { THREADS_MAX = 8 };

struct mounted {
	int fuse;
	bool once; /* one reader, slow requests to the pool */
	struct fs_server *server;
	struct fs_pool *pool;
};

struct request {
	struct fs_job job;
	struct mounted *mounted;
	struct iovec in, out;
	char out_data[FS_REQUEST_MAX];
	char in_data[FS_REQUEST_MAX];
};

static void answer(const struct request *request, ssize_t length)
{
	if (length > 0 && write(request->mounted->fuse, request->out_data, (size_t)length) < 0 &&
	    errno != ENOENT && errno != ENODEV) /* interrupted; unmounted */
		fprintf(stderr, "fs_mount: answer of %zd bytes: %s\n", length, strerror(errno));
}

static void job_done(struct fs_job *job, ssize_t length)
{
	struct request *request = (struct request *)(void *)job;

	answer(request, length);
	free(request);
}

static struct request *new_request(struct mounted *mounted)
{
	struct request *request = malloc(sizeof(*request));

	if (!request)
		abort();
	request->mounted = mounted;
	request->in.iov_base = request->in_data;
	request->out = (struct iovec){ .iov_base = request->out_data,
				       .iov_len = sizeof(request->out_data) };
	request->job = (struct fs_job){
		.request = { .in = &request->in, .n_in = 1, .out = &request->out, .n_out = 1 },
		.done = job_done,
	};
	return request;
}

/* What serves has the rights that it has in the monitor. */
static enum jail_thread kind = JAIL_FOLDER;
static const struct idmap ids = { .root = true, .sub_uid = 1U << 30, .sub_gid = 1U << 30 };

static void enter(void)
{
	if (jail_thread(kind) < 0)
		abort();
}

static void *read_requests(void *user)
{
	struct mounted *mounted = user;
	struct request *request = new_request(mounted);
	ssize_t n;

	enter();
	while ((n = read(mounted->fuse, request->in_data, sizeof(request->in_data))) >= 0 ||
	       errno == EINTR || errno == ENOENT) {
		if (n < 0)
			continue;
		request->in.iov_len = (size_t)n;
		n = fs_serve(mounted->server, &request->job.request, !mounted->once);
		if (n != -EAGAIN) {
			answer(request, n);
			continue;
		}
		fs_pool_submit(mounted->pool, &request->job);
		request = new_request(mounted);
	}
	free(request);
	return NULL;
}

static int mount_it(const char *target, mode_t mode)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];

	if (fuse < 0) {
		fprintf(stderr, "fs_mount: /dev/fuse: %s\n", strerror(errno));
		return -1;
	}
	(void)snprintf(options, sizeof(options),
		       "fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other,default_permissions",
		       fuse, mode & S_IFMT);
	if (mount("venv", target, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
		fprintf(stderr, "fs_mount: mount: %s\n", strerror(errno));
		return -1;
	}
	return fuse;
}

int main(int argc, char **argv)
{
	struct fs_options options = { .wake = fs_pool_wake };
	struct rlimit limit = { 1 << 18, 1 << 18 };
	struct mounted mounted = { .fuse = -1 };
	pthread_t thread[THREADS_MAX];
	unsigned long threads = 2;
	int directory, option;
	struct stat st;

	while ((option = getopt(argc, argv, "rvu:g:t:d:")) != -1)
		switch (option) {
		case 'r':
			options.read_only = true;
			break;
		case 'v':
			options.volume = &ids;
			kind = JAIL_VOLUME;
			break;
		case 'u':
			options.guest_uid = (uid_t)strtoul(optarg, NULL, 10);
			break;
		case 'g':
			options.guest_gid = (gid_t)strtoul(optarg, NULL, 10);
			break;
		case 't':
			threads = strtoul(optarg, NULL, 10);
			break;
		case 'd':
			options.max_descriptors = strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	if (argc - optind != 2 || threads > THREADS_MAX)
		return 2;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)umask(0);
	(void)mallopt(M_ARENA_MAX, 4); /* as the monitor: else malloc() opens a file of /sys */
	directory = open(argv[optind], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fstat(directory, &st) < 0 ||
	    fs_pool_new(4, enter, &mounted.pool, NULL) < 0)
		return 1;
	options.user = mounted.pool;
	if (fs_server_new(directory, -1, &options, &mounted.server, NULL) < 0)
		return 1;
	fs_pool_serve(mounted.pool, mounted.server);
	mounted.once = threads == 0;
	mounted.fuse = mount_it(argv[optind + 1], st.st_mode);
	if (mounted.fuse < 0)
		return errno == ENOENT || errno == EPERM ? 77 : 1;
	for (unsigned long i = 1; i < threads; i++)
		if (pthread_create(&thread[i], NULL, read_requests, &mounted) != 0)
			abort();
	(void)read_requests(&mounted);
	for (unsigned long i = 1; i < threads; i++)
		(void)pthread_join(thread[i], NULL);
	fs_pool_free(mounted.pool);
	fs_server_free(mounted.server);
	(void)close(directory);
	return 0;
}
