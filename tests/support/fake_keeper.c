/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper for tests of venv-sess: accepts ssh connections on a free port of 127.0.0.1, starts a
 * venv-sess for each and answers what it asks, but runs commands on this host as children of its
 * own.
 *
 *   fake_keeper SESS FILES DIRECTORY [LOGIN]
 *
 * SESS is venv-sess; FILES a program with the arguments "sftp" or "scp ...". In DIRECTORY it makes
 * the keys host, host.pub, id and id.pub, and the file port when it is ready. It ends with its
 * stdin.
 */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ssh/ssh.h"
#include "util/buf.h"
#include "util/msg.h"
#include "util/process.h"

enum { PEERS_MAX = 2048, NOBODY = -1 };

struct peer {
	int fd;
	pid_t pid; /* of its command; 0: none */
	int terminal;
	char *path; /* of its agent socket */
};

static struct peer peers[PEERS_MAX];
static size_t n_peers;
static const char *files_program, *directory, *login;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void add_peer(int fd)
{
	if (n_peers == PEERS_MAX) {
		(void)close(fd);
		return;
	}
	peers[n_peers++] = (struct peer){ .fd = fd, .terminal = -1 };
}

static void reply(struct peer *peer, json_t *message, const int *fds, size_t n)
{
	(void)venv__msg_send(peer->fd, message, fds, n, NULL);
	json_decref(message);
}

static void refuse(struct peer *peer, int code, const char *text)
{
	reply(peer, json_pack("{s:{s:i,s:s}}", "error", "code", code, "message", text), NULL, 0);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void run_command(const json_t *request)
{
	char **env = venv__json_strv(request, "env"), **argv = venv__json_strv(request, "argv");
	const char *shell = venv__json_str(request, "shell"),
		   *mode = venv__json_str(request, "mode");
	char sh[] = "/bin/bash", c[] = "-c", name[] = "-bash", files[] = "files", sftp[] = "sftp";
	char *shell_argv[] = { sh, c, NULL, NULL }, *login_argv[] = { name, NULL };
	char *sftp_argv[] = { files, sftp, NULL }, *scp_argv[64] = { files };

	for (char **p = env; p && *p; p++)
		(void)putenv(*p);
	if (chdir(getenv("HOME") ? getenv("HOME") : "/") < 0)
		_exit(126);
	if (mode && strcmp(mode, "sftp") == 0) {
		(void)execv(files_program, sftp_argv);
	} else if (mode) {
		for (size_t i = 0; argv && argv[i] && i < 60; i++)
			scp_argv[i + 1] = argv[i];
		(void)execv(files_program, scp_argv);
	} else if (shell) {
		shell_argv[2] = strdup(shell);
		(void)execv(sh, shell_argv);
	} else if (argv) {
		(void)execvp(argv[0], argv);
	} else {
		(void)execv(sh, login_argv);
	}
	_exit(127);
}

static void op_exec(struct peer *peer, const json_t *request, struct msg_fds *fds)
{
	const json_t *tty = json_object_get(request, "tty");
	struct winsize size = { .ws_row = (unsigned short)venv__json_int(tty, "rows", 24),
				.ws_col = (unsigned short)venv__json_int(tty, "columns", 80) };
	const char *user = venv__json_str(request, "user");
	int master = -1;
	pid_t pid;

	if (user && strcmp(user, login) != 0) {
		refuse(peer, VENV_ERR_NOT_FOUND,
		       "user 'nobody-here' does not exist in the machine");
		return;
	}
	pid = tty ? forkpty(&master, NULL, NULL, &size) : fork();
	if (pid == 0) {
		if (!tty)
			(void)setsid();
		for (int i = 0; !tty && i < 3; i++)
			(void)dup2(fds->fd[i], i);
		(void)close_range(3, ~0U, 0);
		reset_signals();
		run_command(request);
	}
	peer->pid = pid;
	peer->terminal = master;
	reply(peer, json_pack("{s:i}", "pid", (int)pid), &master, tty ? 1 : 0);
}

static void op_signal(const struct peer *peer, const json_t *request)
{
	if (peer->pid > 0)
		(void)kill(-peer->pid, (int)venv__json_int(request, "signal", 0));
}

static void op_resize(const struct peer *peer, const json_t *request)
{
	struct winsize size = { .ws_row = (unsigned short)venv__json_int(request, "rows", 24),
				.ws_col = (unsigned short)venv__json_int(request, "columns", 80) };

	if (peer->terminal >= 0)
		(void)ioctl(peer->terminal, TIOCSWINSZ, &size);
}

static void op_dial(struct peer *peer, const json_t *request)
{
	const char *host = venv__json_str(request, "host");
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	char port[16];
	int fd = -1;

	(void)snprintf(port, sizeof(port), "%d", (int)venv__json_int(request, "port", 0));
	if (getaddrinfo(host, port, &hints, &found) != 0) {
		refuse(peer, VENV_ERR_NETWORK, "no such host");
		return;
	}
	for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			(void)close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	if (fd < 0) {
		refuse(peer, VENV_ERR_NETWORK, "connection refused");
		return;
	}
	reply(peer, json_object(), &fd, 1);
	(void)close(fd);
}

static void listen_agent(struct peer *peer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/agent.%d", directory,
		       peer->fd);
	(void)unlink(address.sun_path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 16) < 0) {
		refuse(peer, VENV_ERR_SYSTEM, "no agent");
	} else {
		peer->path = strdup(address.sun_path);
		reply(peer, json_pack("{s:s}", "path", address.sun_path), &fd, 1);
	}
	(void)close(fd);
}

static void op_listen(struct peer *peer, const json_t *request)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port =
					       htons((uint16_t)venv__json_int(request, "port", 0)),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t n = sizeof(address);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&address, n) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &n) < 0)
		refuse(peer, VENV_ERR_NETWORK, "port is taken");
	else
		reply(peer, json_pack("{s:i}", "port", (int)ntohs(address.sin_port)), &fd, 1);
	(void)close(fd);
}

static void op_open(struct peer *peer)
{
	int ends[2];

	if (venv__msg_pair(ends) < 0)
		die("socketpair");
	add_peer(ends[0]);
	reply(peer, json_object(), &ends[1], 1);
	(void)close(ends[1]);
}

static void close_peer(struct peer *peer)
{
	if (peer->pid > 0)
		(void)kill(-peer->pid, SIGHUP);
	if (peer->terminal >= 0)
		(void)close(peer->terminal);
	if (peer->path)
		(void)unlink(peer->path);
	free(peer->path);
	(void)close(peer->fd);
	peer->fd = NOBODY;
}

static void serve(struct peer *peer)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;
	const char *op;

	if (venv__msg_receive(peer->fd, 0, &request, &fds, NULL) <= 0) {
		close_peer(peer);
		return;
	}
	op = venv__json_str(request, "op") ? venv__json_str(request, "op") : "";
	if (strcmp(op, "open") == 0)
		op_open(peer);
	else if (strcmp(op, "login") == 0)
		reply(peer, json_object(), NULL, 0);
	else if (strcmp(op, "exec") == 0)
		op_exec(peer, request, &fds);
	else if (strcmp(op, "signal") == 0)
		op_signal(peer, request);
	else if (strcmp(op, "resize") == 0)
		op_resize(peer, request);
	else if (strcmp(op, "dial") == 0)
		op_dial(peer, request);
	else if (strcmp(op, "listen") == 0 && venv__json_bool(request, "agent", false))
		listen_agent(peer);
	else if (strcmp(op, "listen") == 0)
		op_listen(peer, request);
	else
		refuse(peer, VENV_ERR_UNSUPPORTED, "unknown op");
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < n_peers; i++) {
			if (peers[i].fd < 0 || peers[i].pid != pid)
				continue;
			peers[i].pid = 0;
			reply(&peers[i],
			      WIFSIGNALED(status) ? json_pack("{s:i}", "signal", WTERMSIG(status))
						  : json_pack("{s:i}", "exit", WEXITSTATUS(status)),
			      NULL, 0);
		}
	}
}

static int session_config(void)
{
	_cleanup_free_ char *host = NULL, *id = NULL, *text = NULL;
	_cleanup_json_ json_t *config = NULL;
	int dir = open(directory, O_DIRECTORY | O_CLOEXEC), fd;

	if (dir < 0 || venv__ssh_keygen(dir, "host", "host", NULL) < 0 ||
	    venv__ssh_keygen(dir, "id", "test", NULL) < 0 ||
	    venv__file_read(dir, "host", 65536, &host, NULL, NULL) < 0 ||
	    venv__file_read(dir, "id.pub", 65536, &id, NULL, NULL) < 0)
		die("keys");
	(void)close(dir);
	config = json_pack("{s:s,s:[s],s:s,s:[s],s:b,s:s}", "host_key", host, "authorized", id,
			   "login", login, "env", "VENV_MACHINE=test", "forward_agent", 0,
			   "machine", "test");
	text = json_dumps(config, JSON_COMPACT);
	fd = venv__memfd_sealed("sess", text, strlen(text));
	return fd;
}

static void start_session(const char *program, int client)
{
	char name[] = "venv-sess";
	char *argv[] = { name, NULL };
	int ends[2], config = session_config();
	struct spawn spawn = { .path = program, .program_fd = -1, .argv = argv, .n_fds = 6 };
	venv_error *error = NULL;
	pid_t pid;

	if (venv__msg_pair(ends) < 0)
		die("socketpair");
	spawn.fds[0] = spawn.fds[1] = -1;
	spawn.fds[2] = STDERR_FILENO;
	spawn.fds[3] = client;
	spawn.fds[4] = ends[1];
	spawn.fds[5] = config;
	if (venv__spawn(&spawn, &pid, NULL, &error) < 0)
		(void)fprintf(stderr, "%s\n", venv_error_message(error));
	(void)close(ends[1]);
	(void)close(config);
	(void)close(client);
	add_peer(ends[0]);
}

static int listen_ssh(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), dir;
	socklen_t n = sizeof(address);
	char text[16];

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, n) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &n) < 0)
		die("listen");
	(void)snprintf(text, sizeof(text), "%d\n", ntohs(address.sin_port));
	dir = open(directory, O_DIRECTORY | O_CLOEXEC);
	(void)close(session_config()); /* the keys, before anybody connects */
	if (venv__file_write(dir, "port", text, strlen(text), 0644, WRITE_VOLATILE, NULL) < 0)
		die("port");
	(void)close(dir);
	return fd;
}

static void on_child(int number)
{
	(void)number;
}

static void drop_gone(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_peers; i++)
		if (peers[i].fd >= 0)
			peers[n++] = peers[i];
	n_peers = n;
}

int main(int argc, char **argv)
{
	static struct pollfd fds[PEERS_MAX + 2];
	struct sigaction action = { .sa_handler = on_child };
	sigset_t child, none;
	int listener;

	if (argc < 4)
		return 2;
	files_program = argv[2];
	directory = argv[3];
	login = argc > 4 ? argv[4] : "tester";
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGCHLD, &action, NULL);
	(void)sigemptyset(&none);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	listener = listen_ssh();
	for (;;) {
		size_t n = n_peers;

		fds[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = listener, .events = POLLIN };
		for (size_t i = 0; i < n; i++)
			fds[i + 2] = (struct pollfd){ .fd = peers[i].fd, .events = POLLIN };
		if (ppoll(fds, (nfds_t)n + 2, NULL, &none) < 0) {
			if (errno != EINTR)
				die("poll");
			reap();
			continue;
		}
		if (fds[0].revents)
			return 0;
		for (size_t i = 0; i < n; i++)
			if (fds[i + 2].revents)
				serve(&peers[i]);
		if (fds[1].revents)
			start_session(argv[1], accept4(listener, NULL, NULL, SOCK_CLOEXEC));
		reap();
		drop_gone();
	}
}
