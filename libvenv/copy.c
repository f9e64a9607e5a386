/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: copying speaks the rcp protocol with the scp server that venv-enter has in every
 * machine (`-t` takes, `-f` gives), so nothing is needed in the image; over ssh it is the machine's own
 * scp. The host's side runs here on a socket pair whose other end is the server's standard input and
 * output.
 *
 * What a machine sends is hostile: a name with a slash, "." or ".." is refused, files are made below the
 * directory that was asked for by *at() calls that follow no link, and nothing but files and
 * directories is ever made. Messages: C<mode> <size> <name>, D<mode> 0 <name>, E, each answered by a
 * zero byte or by an error text.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guest.h"
#include "util/buf.h"
#include "util/msg.h"

enum { LINE_MAX_ = 4096, CHUNK = 65536, DEPTH_MAX = 256, END_MS = 1000 };

struct rcp {
	const char *machine;
	struct venv_op *op;
	struct exec_handle handle;
	int socket;
	uint64_t done;
};

/* Wait until the socket can be used; a machine that says nothing for long can be given up. */
static int await(const struct rcp *rcp, short events, venv_error **err)
{
	struct pollfd fds[] = { { .fd = rcp->socket, .events = events },
				{ .fd = venv__op_cancel_fd(rcp->op), .events = POLLIN } };

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot wait for the machine");
		if (fds[1].revents)
			return venv__op_cancelled(rcp->op, err);
		if (fds[0].revents)
			return 0;
	}
}

/* Its connection may know why. */
static int ended_early(const struct rcp *rcp, venv_error **err)
{
	_cleanup_json_ json_t *message = NULL;
	int r = 0;

	if (venv__msg_receive(rcp->handle.control, END_MS, &message, NULL, NULL) > 0)
		r = venv__error_from_json(message, err);
	return r < 0 ? r
		     : venv__fail(err, VENV_ERR_COMMAND,
				  "the machine's side of the copy ended early");
}

static int send_bytes(const struct rcp *rcp, const void *data, size_t length, venv_error **err)
{
	const char *p = data;

	while (length) {
		ssize_t n = send(rcp->socket, p, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n < 0 && errno == EAGAIN) {
			r = await(rcp, POLLOUT, err);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno == EPIPE)
			return ended_early(rcp, err);
		if (n < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "the machine's side of the copy ended");
		if (n > 0) {
			p += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/* At least one byte, or 0 at the end. */
static ssize_t receive_bytes(const struct rcp *rcp, void *data, size_t size, venv_error **err)
{
	for (;;) {
		ssize_t n = recv(rcp->socket, data, size, MSG_DONTWAIT);
		int r;

		if (n >= 0)
			return n;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot read from the machine");
		r = await(rcp, POLLIN, err);
		if (r < 0)
			return r;
	}
}

/* One line without its end. Returns 1, 0 at the end of the stream, or a negative code. */
static int receive_line(const struct rcp *rcp, char *line, size_t size, venv_error **err)
{
	size_t n = 0;

	for (;;) {
		ssize_t r = receive_bytes(rcp, line + n, 1, err);

		if (r < 0)
			return (int)r;
		if (r == 0 && n == 0)
			return 0;
		if (r == 0 || line[n] == '\n')
			break;
		if (++n == size)
			return venv__fail(err, VENV_ERR_INVALID,
					  "the machine sent a line without end");
	}
	line[n] = '\0';
	return 1;
}

static int answer(const struct rcp *rcp, venv_error **err)
{
	char text[LINE_MAX_], code = 0;
	ssize_t n = receive_bytes(rcp, &code, 1, err);

	if (n < 0)
		return (int)n;
	if (n == 0)
		return ended_early(rcp, err);
	if (code == 0)
		return 0;
	if (receive_line(rcp, text, sizeof(text), err) < 0)
		return VENV_ERR_COMMAND;
	(void)venv__fail(err, VENV_ERR_COMMAND, "%s", text);
	if (!strstr(text, "No such file or directory"))
		return VENV_ERR_COMMAND;
	return venv__hint(
		VENV_ERR_COMMAND, err,
		"make the directory that it goes into first: run 'mkdir -p' in the machine");
}

static int begin(struct rcp *rcp, const struct provider *provider, struct machine *machine,
		 const char *user, const char *flags, const char *path, venv_error **err)
{
	char program[] = "scp", recursive[] = "-r", preserve[] = "-p";
	_cleanup_strv_ char **argv = NULL;
	struct exec_spec spec = { .mode = "scp", .user = user };
	int pair[2], r;

	if (venv__strv_add(&argv, program) < 0 || venv__strv_add(&argv, recursive) < 0 ||
	    venv__strv_add(&argv, preserve) < 0 || venv__strv_add(&argv, flags) < 0 ||
	    venv__strv_add(&argv, "--") < 0 || venv__strv_add(&argv, path) < 0)
		return venv__fail_nomem(err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return venv__fail_errno(err, errno, "cannot make a socket");
	rcp->socket = pair[0];
	spec.argv = argv;
	spec.fds[0] = spec.fds[1] = pair[1];
	spec.fds[2] = -1;
	r = venv__guest_exec(provider, machine, &spec, &rcp->handle, err);
	(void)close(pair[1]);
	return r;
}

static void rcp_done(struct rcp *rcp)
{
	if (rcp->socket >= 0)
		(void)close(rcp->socket);
	if (rcp->handle.control >= 0)
		(void)close(rcp->handle.control);
}

/* Nothing more is sent: wait for the server's end and take its verdict. */
static int finish(struct rcp *rcp, venv_error **err)
{
	_cleanup_json_ json_t *message = NULL;
	int r;

	(void)shutdown(rcp->socket, SHUT_WR);
	r = venv__msg_receive(rcp->handle.control, 30000, &message, NULL, err);
	if (r > 0)
		r = venv__error_from_json(message, err);
	if (r < 0)
		return r;
	if (!message || venv__json_int(message, "exit", 1) != 0)
		return venv__fail(err, VENV_ERR_COMMAND, "the copy failed in the machine");
	return 0;
}

/* ---- Into a machine ------------------------------------------------------------------------ */

static int put_entry(struct rcp *rcp, int dir_fd, const char *name, unsigned depth,
		     venv_error **err);

static int send_header(const struct rcp *rcp, char kind, const struct stat *st, const char *name,
		       venv_error **err)
{
	_cleanup_free_ char *line = NULL;
	int n, r;

	if (strpbrk(name, "\n\r"))
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "a file name with a line break cannot be copied");
	n = asprintf(&line, "T%lld 0 %lld 0\n", (long long)st->st_mtime, (long long)st->st_atime);
	if (n < 0) {
		line = NULL;
		return venv__fail_nomem(err);
	}
	r = send_bytes(rcp, line, (size_t)n, err);
	if (r == 0)
		r = answer(rcp, err);
	if (r < 0)
		return r;
	free(line);
	line = NULL;
	n = asprintf(&line, "%c%04o %lld %s\n", kind, (unsigned)st->st_mode & 0777,
		     kind == 'C' ? (long long)st->st_size : 0LL, name);
	if (n < 0) {
		line = NULL;
		return venv__fail_nomem(err);
	}
	r = send_bytes(rcp, line, (size_t)n, err);
	return r == 0 ? answer(rcp, err) : r;
}

/* Exactly size bytes; a file that shrank meanwhile is filled up and reported. */
static int send_content(struct rcp *rcp, int fd, uint64_t size, venv_error **err)
{
	char chunk[CHUNK];
	bool short_file = false;
	int r = 0;

	while (size && r == 0) {
		size_t want = (size_t)MIN(size, (uint64_t)sizeof(chunk));
		ssize_t n = short_file ? 0 : read(fd, chunk, want);

		if (n <= 0) {
			short_file = true;
			memset(chunk, 0, want);
			n = (ssize_t)want;
		}
		r = send_bytes(rcp, chunk, (size_t)n, err);
		size -= (uint64_t)n;
		rcp->done += (uint64_t)n;
		venv__op_progress(rcp->op, rcp->machine, "copy", rcp->done, 0);
	}
	if (r == 0)
		r = send_bytes(rcp, short_file ? "\1" : "\0", 1, err);
	if (r == 0)
		r = answer(rcp, err);
	if (r == 0 && short_file)
		return venv__fail(err, VENV_ERR_SYSTEM, "a file shrank while it was copied");
	return r;
}

static int put_directory(struct rcp *rcp, int fd, const struct stat *st, const char *as,
			 unsigned depth, venv_error **err)
{
	_cleanup_strv_ char **names = NULL;
	int r = send_header(rcp, 'D', st, as, err);

	if (r == 0)
		r = venv__dir_list(fd, &names, err);
	for (char **name = names; r == 0 && *name; name++)
		r = put_entry(rcp, fd, *name, depth + 1, err);
	if (r == 0)
		r = send_bytes(rcp, "E\n", 2, err);
	return r == 0 ? answer(rcp, err) : r;
}

static int put_open(struct rcp *rcp, int fd, const char *as, unsigned depth, venv_error **err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot look at '%s'", as);
	if (depth > DEPTH_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "'%s' lies too deep", as);
	if (S_ISDIR(st.st_mode))
		return put_directory(rcp, fd, &st, as, depth, err);
	if (!S_ISREG(st.st_mode)) {
		venv__op_warning(rcp->op, rcp->machine, "'%s' is no file and was not copied", as);
		return 0;
	}
	r = send_header(rcp, 'C', &st, as, err);
	return r == 0 ? send_content(rcp, fd, (uint64_t)st.st_size, err) : r;
}

/* Links are not followed below the top: they may lead anywhere. */
static int put_entry(struct rcp *rcp, int dir_fd, const char *name, unsigned depth,
		     venv_error **err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

	if (fd < 0 && errno == ELOOP) {
		venv__op_warning(rcp->op, rcp->machine, "the symbolic link '%s' was not copied",
				 name);
		return 0;
	}
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", name);
	return put_open(rcp, fd, name, depth, err);
}

int venv__guest_put(const struct provider *provider, struct machine *machine, const char *user,
		    int from_fd, const char *as, const char *to, struct venv_op *op,
		    venv_error **err)
{
	struct rcp rcp = { .machine = machine->name,
			   .op = op,
			   .handle = { .control = -1, .tty = -1 },
			   .socket = -1 };
	int r = begin(&rcp, provider, machine, user, "-t", to, err);

	if (r == 0)
		r = answer(&rcp, err);
	if (r == 0)
		r = put_open(&rcp, from_fd, as, 0, err);
	if (r == 0)
		r = finish(&rcp, err);
	rcp_done(&rcp);
	return r;
}

/* ---- Out of a machine ---------------------------------------------------------------------- */

struct header {
	char kind;
	mode_t mode;
	uint64_t size;
	const char *name;
};

static int bad_line(venv_error **err)
{
	return venv__fail(err, VENV_ERR_INVALID, "the machine broke the copy protocol");
}

static int parse_header(const char *line, struct header *ret, venv_error **err)
{
	char *end;
	unsigned long mode = strtoul(line + 1, &end, 8);
	unsigned long long size;

	if (end != line + 5 || *end != ' ' || mode > 07777)
		return bad_line(err);
	errno = 0;
	size = strtoull(end + 1, &end, 10);
	if (errno || *end != ' ' || size > INT64_MAX)
		return bad_line(err);
	*ret = (struct header){ line[0], (mode_t)mode & 0777, size, end + 1 };
	if (!*ret->name || strchr(ret->name, '/') || !strcmp(ret->name, ".") ||
	    !strcmp(ret->name, ".."))
		return venv__fail(err, VENV_ERR_DENIED, "the machine sent the file name '%s'",
				  ret->name);
	return 0;
}

static int take_content(struct rcp *rcp, int fd, uint64_t size, venv_error **err)
{
	char chunk[CHUNK];
	int r = send_bytes(rcp, "\0", 1, err);

	while (size && r == 0) {
		ssize_t n =
			receive_bytes(rcp, chunk, (size_t)MIN(size, (uint64_t)sizeof(chunk)), err);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return venv__fail(err, VENV_ERR_COMMAND,
					  "the machine ended in the middle of a file");
		r = venv__write_all(fd, chunk, (size_t)n);
		if (r < 0)
			return venv__fail_errno(err, -r, "cannot write a file");
		size -= (uint64_t)n;
		rcp->done += (uint64_t)n;
		venv__op_progress(rcp->op, rcp->machine, "copy", rcp->done, 0);
	}
	if (r == 0)
		r = answer(rcp, err);
	return r == 0 ? send_bytes(rcp, "\0", 1, err) : r;
}

static int take_file(struct rcp *rcp, int dir_fd, const char *name, const struct header *header,
		     venv_error **err)
{
	_cleanup_close_ int fd = -1;

	(void)unlinkat(dir_fd, name, 0);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    header->mode);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot make '%s'", name);
	return take_content(rcp, fd, header->size, err);
}

static int take_directory(int dir_fd, const char *name, const struct header *header, int *ret,
			  venv_error **err)
{
	if (mkdirat(dir_fd, name, header->mode | 0700) < 0 && errno != EEXIST)
		return venv__fail_errno(err, errno, "cannot make the directory '%s'", name);
	*ret = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? venv__fail_errno(err, errno, "cannot open '%s'", name) : 0;
}

static int take_entries(struct rcp *rcp, int dir_fd, const char *top, unsigned depth,
			venv_error **err);

/* A file or a directory with all that is in it. */
static int take_entry(struct rcp *rcp, int dir_fd, const char *line, const char *top,
		      unsigned depth, venv_error **err)
{
	_cleanup_close_ int sub = -1;
	struct header header = { 0 };
	int r = parse_header(line, &header, err);

	if (r < 0)
		return r;
	if (header.kind == 'C')
		return take_file(rcp, dir_fd, top ? top : header.name, &header, err);
	r = take_directory(dir_fd, top ? top : header.name, &header, &sub, err);
	if (r == 0)
		r = send_bytes(rcp, "\0", 1, err);
	return r == 0 ? take_entries(rcp, sub, NULL, depth + 1, err) : r;
}

/* top: the name to use for the one thing asked for, NULL: the name that is sent. */
static int take_entries(struct rcp *rcp, int dir_fd, const char *top, unsigned depth,
			venv_error **err)
{
	char line[LINE_MAX_];
	int r;

	while ((r = receive_line(rcp, line, sizeof(line), err)) > 0) {
		switch (line[0]) {
		case 1:
		case 2:
			return venv__fail(err, VENV_ERR_COMMAND, "%s", line + 1);
		case 'T':
			r = send_bytes(rcp, "\0", 1, err);
			break;
		case 'C':
		case 'D':
			r = depth > DEPTH_MAX ? bad_line(err)
					      : take_entry(rcp, dir_fd, line, top, depth, err);
			break;
		case 'E':
			return depth ? send_bytes(rcp, "\0", 1, err) : bad_line(err);
		default:
			return bad_line(err);
		}
		if (r < 0)
			return r;
	}
	return r;
}

int venv__guest_get(const struct provider *provider, struct machine *machine, const char *user,
		    const char *from, int to_fd, const char *as, struct venv_op *op,
		    venv_error **err)
{
	struct rcp rcp = { .machine = machine->name,
			   .op = op,
			   .handle = { .control = -1, .tty = -1 },
			   .socket = -1 };
	int r = begin(&rcp, provider, machine, user, "-f", from, err);
	if (r == 0)
		r = send_bytes(&rcp, "\0", 1, err);
	if (r == 0)
		r = take_entries(&rcp, to_fd, as, 0, err);
	if (r == 0)
		r = finish(&rcp, err);
	rcp_done(&rcp);
	return r;
}
