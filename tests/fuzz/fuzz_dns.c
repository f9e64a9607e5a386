/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries of a guest to the project's resolver. The first two bytes divide the rest into a query and a
 * server's answer to it.
 */
#include <stdlib.h>
#include <string.h>

#include "netd/resolver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char web[] = "web", db[] = "db", shop[] = "shop";

static void check(const struct network *network, uint32_t from, const uint8_t *query, size_t length)
{
	uint8_t reply[DNS_REPLY_MAX];
	int r = venv__names_answer(network, from, query, length, reply);

	if (r > DNS_REPLY_MAX || r < -1 || (r > 0 && r < 12))
		abort();
	/* what we say must answer what was asked */
	if (r > 0 && !venv__dns_matches(query, length, reply, (size_t)r))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netd netd = { .project = shop };
	struct network network = { .name = shop,
				   .netd = &netd,
				   .nat = true,
				   .subnet = 0x0a580000,
				   .gateway = 0x0a580001,
				   .prefix = 24 };
	struct interface own = { .network = &network, .address = 0x0a580002 };
	struct interface other = { .network = &network, .address = 0x0a580003 };
	struct machine second = {
		.netd = &netd, .name = db, .hostname = db, .interfaces = &other, .n_interfaces = 1
	};
	struct machine first = { .next = &second,
				 .netd = &netd,
				 .name = web,
				 .hostname = web,
				 .host_access = true,
				 .interfaces = &own,
				 .n_interfaces = 1 };
	uint8_t *query, *answer;
	size_t divide;

	if (size < 2)
		return 0;
	netd.networks = &network;
	netd.machines = &first;
	divide = (size_t)(data[0] << 8 | data[1]) % (size - 1);
	data += 2;
	size -= 2;
	divide = divide > size ? size : divide;
	/* copies of just that size, so that the sanitizer sees a byte too far */
	query = malloc(divide + 1);
	answer = malloc(size - divide + 1);
	memcpy(query, data, divide);
	memcpy(answer, data + divide, size - divide);
	check(&network, own.address, query, divide);
	network.nat = false;
	check(&network, other.address, query, divide);
	if (divide >= 12)
		(void)venv__dns_matches(query, divide, answer, size - divide);
	free(query);
	free(answer);
	return 0;
}
