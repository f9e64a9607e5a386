/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between an SSH channel and a descriptor, for the server (venv-sess) and the client
 * (venv-ssh). The one place that knows how libssh must be fed and drained.
 *
 * Theory of operation: libssh 0.10 grants the peer a new window after every ssh_channel_read(),
 * ignoring what it still holds; whoever reads in small pieces makes its buffer grow without bound,
 * and at 256 MiB libssh drops it without an error. So bytes leave libssh in two ways only:
 *  - in the data callback, straight into the descriptor, as many as it takes (libssh keeps the rest
 *    and counts it against the window);
 *  - when the descriptor can be written again, *all* that libssh holds in one read (at most about
 *    1.3 MB) into the stash. While the stash has bytes, the callback takes none.
 * In the other direction a descriptor is read only while the channel's window is open, and what
 * libssh did not take at once (a key exchange is on) is kept and offered again.
 */
#ifndef VENV_SSH_FLOW_H
#define VENV_SSH_FLOW_H

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>

/* From the channel to a descriptor. */
struct flow_sink {
	int fd;         /* -1: not there yet, or gone */
	bool expected;  /* fd is -1 but will come: libssh keeps the bytes until then */
	bool is_socket; /* use send(): it does not block even if the descriptor would */
	bool shut;      /* its end is told by shutdown() too */
	bool small;     /* may block: write at most PIPE_BUF after poll() said it can be written */
	bool eof;       /* the channel ended: close when everything is written */
	bool blocked;   /* libssh holds bytes that the descriptor did not take */
	bool busy;      /* inside a read of libssh, which may call back */
	bool is_stderr;
	unsigned char *stash;
	size_t offset, length;
};
#define FLOW_SINK_INIT(error)                                                                      \
	{                                                                                          \
		.fd = -1, .is_stderr = (error)                                                     \
	}

/* From a descriptor to the channel. */
struct flow_source {
	int fd; /* -1: not there, or ended */
	bool is_stderr;
	unsigned char *rest; /* read, but not taken by libssh yet */
	size_t offset, length;
};
#define FLOW_SOURCE_INIT(error)                                                                    \
	{                                                                                          \
		.fd = -1, .is_stderr = (error)                                                     \
	}

enum flow_state { FLOW_BROKEN = -1, FLOW_ENDED, FLOW_GOES_ON };

/* The body of a data callback: bytes taken. */
size_t venv__sink_take(struct flow_sink *sink, const void *data, size_t length);
/*
 * Write what is held back; call it when the descriptor arrived or can be written, and after an end.
 */
void venv__sink_run(struct flow_sink *sink, ssh_channel channel);
bool venv__sink_waits(const struct flow_sink *sink); /* for POLLOUT */
/* A late descriptor; -1: there will be none, drop everything. Calls nothing of libssh. */
void venv__sink_open(struct flow_sink *sink, int fd);
void venv__sink_close(struct flow_sink *sink);

/* Read and pass on. FLOW_ENDED once the descriptor ended and all of it was given to libssh. */
enum flow_state venv__source_run(struct flow_source *source, ssh_channel channel, bool readable);
bool venv__source_waits(const struct flow_source *source, ssh_channel channel); /* for POLLIN */
void venv__source_close(struct flow_source *source);

/* Is everything written that libssh has for the socket? While it is not, no source is read. */
bool venv__flow_flushed(ssh_session session);

#endif
