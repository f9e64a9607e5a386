/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver: our own names (names.c) and everything else, which the host's resolver knows. */
#ifndef VENV_NET_RESOLVER_H
#define VENV_NET_RESOLVER_H

#include <sys/stat.h>

#include "dns.h"
#include "netd.h"

enum { SERVERS_MAX = 3 };

struct server {
	struct sockaddr_storage address;
	socklen_t length;
};

struct resolver {
	struct netd *netd;
	struct server servers[SERVERS_MAX];
	unsigned n_servers;
	struct stat seen; /* of resolv.conf when it was read */
	struct forward *forwards;
	struct stream *streams;
	unsigned n_forwards, n_streams;
	struct loop_source *sweep;
};

/*
 * Answer a query of ours.
 * @param from who asks, on which network
 * @return length of the reply; 0: say nothing; -1: not ours, ask the host's resolver
 */
int venv__names_answer(const struct network *network, uint32_t from, const uint8_t *query,
		       size_t length, uint8_t reply[DNS_REPLY_MAX]);

/* servers.c: the host's resolvers as in /etc/resolv.conf, read again when it has changed. */
void venv__servers_refresh(struct resolver *resolver);
/* A socket on its way to the n-th of them (round and round), or -errno. */
int venv__servers_connect(const struct resolver *resolver, unsigned n, int type);

/* stream.c: queries over TCP. */
void venv__stream_sweep(struct resolver *resolver, uint64_t now);
void venv__resolver_need_sweep(struct resolver *resolver);

#endif
