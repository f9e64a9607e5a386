/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses inside a machine, without NSS: numbers, /etc/hosts, then its DNS server. */
#ifndef VENV_ENTER_NAMES_H
#define VENV_ENTER_NAMES_H

#include <stddef.h>
#include <sys/socket.h>

enum { NAMES_MAX = 8, DNS_MAX = 1232 };

/* How many addresses were found (ports are 0). */
size_t enter_names_find(const char *host, struct sockaddr_storage ret[NAMES_MAX]);

/* For tests. The pieces: a line of /etc/hosts; a query's bytes (0: not a name); an answer. */
size_t enter_names_in_hosts(char *text, const char *host, struct sockaddr_storage ret[NAMES_MAX]);
size_t enter_names_query(const char *host, unsigned type, unsigned id, unsigned char ret[DNS_MAX]);
size_t enter_names_answer(const unsigned char *packet, size_t length, unsigned id,
			  struct sockaddr_storage *ret, size_t max);

#endif
