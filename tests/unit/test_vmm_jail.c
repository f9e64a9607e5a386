/* SPDX-License-Identifier: Apache-2.0 */
/* The jail from inside: what must not work there, each in a process of its own. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "jail/jail.h"

static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int allowed(void)
{
	uint8_t *memory;

	if (jail_thread(JAIL_VCPU) < 0)
		return 1;
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 2;
	memory[0] = 1;
	free(malloc(1 << 20));
	if (poll(NULL, 0, 0) < 0) /* MSI-X asks its eventfds what is pending */
		return 4;
	/* KVM's ioctls reach the descriptor, which refuses them */
	return ioctl(0, 0xae80, 0) == -1 ? 0 : 3;
}

static int try_open(void)
{
	(void)jail_thread(JAIL_MAIN);
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static int try_socket(void)
{
	(void)jail_thread(JAIL_MAIN);
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static int try_program(void)
{
	(void)jail_thread(JAIL_FOLDER);
	return execl("/bin/true", "true", NULL);
}

static int try_code(void)
{
	(void)jail_thread(JAIL_WORKER);
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static int try_terminal(void)
{
	char byte = 'x';

	(void)jail_thread(JAIL_VCPU);
	return ioctl(0, TIOCSTI, &byte) == 0;
}

static int try_32_bits(void)
{
	long r;

	(void)jail_thread(JAIL_MAIN);
	/* the number of getpid there */
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
	return r > 0;
}

/* Each kind of thread has what it needs and not what another one needs. */
static int try_folder_of_disk(void)
{
	(void)jail_thread(JAIL_DISK);
	return openat(AT_FDCWD, ".", O_RDONLY | O_CLOEXEC) >= 0;
}

static int try_disk_of_net(void)
{
	char byte;

	(void)jail_thread(JAIL_NET);
	return pread(0, &byte, 1, 0) >= 0;
}

static int try_ioctl_of_folder(void)
{
	(void)jail_thread(JAIL_FOLDER);
	return ioctl(0, TUNSETOFFLOAD, 0) == 0;
}

static int try_kvm_of_net(void)
{
	(void)jail_thread(JAIL_NET);
	return ioctl(0, 0xae80, 0) == 0;
}

static int try_tap_of_net(void)
{
	(void)jail_thread(JAIL_NET);
	return ioctl(0, TUNSETIFF, 0) == 0;
}

/* Exact requests: not one that is like one of vhost's but for its size, and none that is not needed. */
static int try_vhost_like(void)
{
	(void)jail_thread(JAIL_NET);
	return ioctl(0, VHOST_SET_VRING_KICK + (1UL << 16), 0) == 0;
}

static int try_vhost_log(void)
{
	(void)jail_thread(JAIL_NET);
	return ioctl(0, VHOST_SET_LOG_BASE, 0) == 0;
}

static int try_vhost_of_worker(void)
{
	(void)jail_thread(JAIL_WORKER);
	return ioctl(0, VHOST_SET_OWNER) == 0;
}

static int try_inet_of_sockets(void)
{
	(void)jail_thread(JAIL_SOCKETS);
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static int try_owner_of_folder(void)
{
	(void)jail_thread(JAIL_FOLDER);
	return fchownat(AT_FDCWD, ".", (uid_t)-1, (gid_t)-1, 0) == 0;
}

static int owner_of_volume(void)
{
	return jail_thread(JAIL_VOLUME) < 0 || fchownat(AT_FDCWD, ".", (uid_t)-1, (gid_t)-1, 0) < 0;
}

static int try_thread_of_folder(void)
{
	(void)jail_thread(JAIL_FOLDER);
	return (int)syscall(SYS_unshare, CLONE_NEWUSER);
}

static int try_process(void)
{
	(void)jail_thread(JAIL_WORKER);
	return fork() >= 0;
}

static int allowed_net(void)
{
	static const unsigned long requests[] = {
		TUNSETOFFLOAD,        VHOST_SET_OWNER,      VHOST_SET_MEM_TABLE,
		VHOST_SET_FEATURES,   VHOST_SET_VRING_NUM,  VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE, VHOST_SET_VRING_KICK,
		VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,  VHOST_NET_SET_BACKEND,
	};

	if (jail_thread(JAIL_NET) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (ioctl(0, requests[i], 0) != -1)
			return 2;
	return getpid() < 0; /* what follows in the list */
}

static void *use_the_heap(void *user)
{
	enum { BLOCKS = 64, BLOCK = 65536 }; /* below what is mapped by itself */
	void *blocks[BLOCKS];

	*(int *)user = jail_thread(JAIL_SOCKETS);
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BLOCK);
		memset(blocks[i], 1, BLOCK);
	}
	for (unsigned i = BLOCKS; i-- > 0;)
		free(blocks[i]);
	return NULL;
}

/* A thread's heap that shrinks: libc must not look anything up for it. */
static int allowed_heap(void)
{
	pthread_t thread;
	int r = 1;

	jail_libc();
	if (pthread_create(&thread, NULL, use_the_heap, &r) != 0)
		return 2;
	(void)pthread_join(thread, NULL);
	return r;
}

static int allowed_sockets(void)
{
	const struct sockaddr_un nobody = { AF_UNIX, "/nobody" };
	int fd;

	if (jail_thread(JAIL_SOCKETS) < 0)
		return 1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || connect(fd, (const struct sockaddr *)&nobody, sizeof(nobody)) == 0 ||
	       shutdown(fd, SHUT_WR) < 0;
}

static int allowed_folder(void)
{
	return jail_thread(JAIL_FOLDER) < 0 || openat(AT_FDCWD, ".", O_RDONLY | O_CLOEXEC) < 0;
}

static void filters_let_through_what_is_needed(void **state)
{
	(void)state;
	assert_int_equal(in_child(allowed), 0);
	assert_int_equal(in_child(allowed_net), 0);
	assert_int_equal(in_child(allowed_sockets), 0);
	assert_int_equal(in_child(allowed_heap), 0);
	assert_int_equal(in_child(allowed_folder), 0);
	assert_int_equal(in_child(owner_of_volume), 0);
}

static void filters_kill(void **state)
{
	int (*const cases[])(void) = {
		try_open,
		try_socket,
		try_program,
		try_code,
		try_terminal,
		try_32_bits,
		try_process,
		try_folder_of_disk,
		try_disk_of_net,
		try_ioctl_of_folder,
		try_kvm_of_net,
		try_tap_of_net,
		try_vhost_like,
		try_vhost_log,
		try_vhost_of_worker,
		try_inet_of_sockets,
		try_owner_of_folder,
		try_thread_of_folder,
	};

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	print_message("SKIPPED: sanitizers need what filters forbid\n");
	skip();
#endif
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = in_child(cases[i]);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("case %zu: %#x", i, (unsigned)status);
	}
}

static char directory[] = "/tmp/venv-jail-XXXXXX";

/* An abstract socket, whose name is the network namespace's; listening or connected. */
static int abstract_socket(bool listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", directory);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listening ? bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1) < 0
		      : connect(fd, (struct sockaddr *)&address, length) < 0) {
		(void)close(fd);
		return -errno;
	}
	return fd;
}

static int closed_world(int folder)
{
	struct jail_closed closed = { 0 };
	struct jail_folder shared = { .fd = folder };
	struct stat st, outside;

	if (jail_process(&shared, 1, &closed, NULL) < 0)
		return 2;
	if (!closed.files || !closed.namespaces)
		print_message("SKIPPED in part: Landlock %d, namespaces %d\n", closed.files,
			      closed.namespaces);
	if (closed.namespaces && abstract_socket(false) != -ECONNREFUSED)
		return 8;
	if (closed.namespaces && (fstatat(folder, "mine", &st, 0) < 0 || st.st_uid != geteuid()))
		return 9; /* ids of files are what they were */
	if (closed.namespaces && stat("/etc", &outside) == 0)
		return 10;
	if (closed.files && open("/", O_RDONLY | O_CLOEXEC) >= 0)
		return 5;
	if (closed.files && openat(folder, "../../etc/passwd", O_RDONLY | O_CLOEXEC) >= 0)
		return 6;
	return 0;
}

static int closed_files(void)
{
	int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), inside, r;

	(void)close(openat(folder, "mine", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	r = closed_world(folder);
	if (r)
		return r;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 3;
	if (umask(0) != 0)
		return 7;
	inside = openat(folder, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (inside < 0)
		return 4;
	(void)unlinkat(folder, "file", 0);
	(void)unlinkat(folder, "mine", 0);
	return 0;
}

static int closed_for_a_user(void)
{
	if (chown(directory, 65534, 65534) < 0 || setgid(65534) < 0 || setuid(65534) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return 11;
	return closed_files();
}

static void files_are_closed(void **state)
{
	int abstract;

	(void)state;
	assert_non_null(mkdtemp(directory));
	abstract = abstract_socket(true);
	assert_true(abstract >= 0);
	assert_int_equal(in_child(closed_files), 0);
	if (geteuid() == 0)
		assert_int_equal(in_child(closed_for_a_user), 0);
	(void)close(abstract);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_let_through_what_is_needed),
		cmocka_unit_test(filters_kill),
		cmocka_unit_test(files_are_closed),
	};

	return cmocka_run_group_tests_name("vmm_jail", tests, NULL, NULL);
}
