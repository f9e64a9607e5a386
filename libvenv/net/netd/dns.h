/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035): as much as our own names need. The input is any bytes from a guest. */
#ifndef VENV_NET_DNS_H
#define VENV_NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_NAME_MAX = 256, /* as text with dots, with the zero */
	DNS_REPLY_MAX = 1024,
	DNS_TTL = 5,
	DNS_TYPE_A = 1,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_ANY = 255,
	DNS_OK = 0,
	DNS_FORMAT_ERROR = 1,
	DNS_SERVER_FAILURE = 2,
	DNS_NO_NAME = 3,
	DNS_NOT_IMPLEMENTED = 4,
	DNS_REFUSED = 5,
};

struct dns_question {
	char name[DNS_NAME_MAX]; /* lower case, without the last dot; "" for the root */
	bool odd;                /* has bytes that our names never have: surely not one of ours */
	bool dnssec;             /* who asks wants proofs (RFC 3225): it must see what is signed */
	uint16_t type, class;
	size_t end; /* where the question ends in the message */
};

/* @return DNS_OK; a DNS_ code to answer with; or -1: not a query at all, say nothing */
int venv__dns_parse(const uint8_t *message, size_t length, struct dns_question *ret);
/*
 * Write an answer to a parsed query (or, with question NULL, to its bare header).
 * @param address for type A, host byte order, 0: none; name for type PTR, NULL: none
 * @return its length, at most DNS_REPLY_MAX, or 0
 */
size_t venv__dns_reply(uint8_t reply[DNS_REPLY_MAX], const uint8_t *query,
		       const struct dns_question *question, int code, uint32_t address,
		       const char *name);
/* Is this a server's answer to this query? Same id, and the same question if it repeats it. */
bool venv__dns_matches(const uint8_t *query, size_t query_length, const uint8_t *answer,
		       size_t answer_length);
/* "5.0.88.10.in-addr.arpa" */
bool venv__dns_reverse(const char *name, uint32_t *ret_address);

#endif
