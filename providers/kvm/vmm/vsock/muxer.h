/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between the guest and Unix sockets of the host, over the packets of virtio-vsock. Knows no
 * virtio: virtio/vsock.c brings packets and takes them.
 *
 * The guest connects to CID 2, port N: to the socket "N" in a directory of the host's, if there is one.
 * That becomes the process's working directory: sockets have no connectat(), and in the jail no /proc.
 * The host connects to a listening socket and says "CONNECT N\n": when the guest's port N took it, it
 * reads "OK M\n", then what the guest says; when not, the end.
 *   Streams are limited in number, and so are answers to packets that belong to none. While no driver is
 * there, who connects to the listening socket waits. All calls on the loop's thread.
 */
#ifndef VMM_VSOCK_MUXER_H
#define VMM_VSOCK_MUXER_H

#include "conn.h"

enum {
	VSOCK_CONNECTIONS_MAX = 128,
	VSOCK_RESETS_MAX = 128,
	VSOCK_HOST_CID = 2,
};

/* directory, listener: -1 for none; they stay the caller's. ready(user): packets are due, called outside
 * of vsock_mux_take() and vsock_mux_give(). NULL: no memory */
struct vsock_mux *vsock_mux_new(struct loop *loop, uint64_t guest_cid, int directory, int listener,
				void (*ready)(void *user), void *user);
void vsock_mux_free(struct vsock_mux *mux);
/* A driver is there, or is not: then all streams end. */
void vsock_mux_start(struct vsock_mux *mux);
void vsock_mux_stop(struct vsock_mux *mux);
/* A packet from the guest; iov: its len bytes. */
void vsock_mux_take(struct vsock_mux *mux, const struct virtio_vsock_hdr *packet,
		    const struct iovec *iov, int n);
/* The next packet for the guest, with at most room bytes of data. @return false: none is due */
bool vsock_mux_give(struct vsock_mux *mux, struct virtio_vsock_hdr *packet, uint8_t *data,
		    size_t room);
bool vsock_mux_has(const struct vsock_mux *mux); /* may a packet be due? */
unsigned vsock_mux_count(const struct vsock_mux *mux);

#endif
