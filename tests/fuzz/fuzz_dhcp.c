/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a guest to the project's DHCP server: whatever is answered must be a whole message. */
#include <stdlib.h>
#include <string.h>

#include "netd/dhcp.h"
#include "netd/netd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char web[] = "web", shop[] = "shop";

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check(const uint8_t *reply, size_t length)
{
	size_t at = 240;

	must(length >= 300 && length <= DHCP_REPLY_MAX && reply[0] == 2);
	while (reply[at] != 255) {
		must(at + 2 + reply[at + 1] < length);
		at += 2u + reply[at + 1];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* what a fuzzer would look for long: a request's beginning; the input is its options */
	static const uint8_t head[] = { 1, 1, 6, 0, 1, 2, 3, 4 };
	static const uint8_t cookie[] = { 99, 130, 83, 99 };
	struct netd netd = { .project = shop };
	struct network network = { .name = shop,
				   .netd = &netd,
				   .subnet = 0x0a580000,
				   .gateway = 0x0a580001,
				   .prefix = 24 };
	struct interface interface = { .network = &network,
				       .address = 0x0a580002,
				       .mac = "00:00:00:00:00:00" };
	struct machine machine = { .netd = &netd,
				   .name = web,
				   .hostname = web,
				   .interfaces = &interface,
				   .n_interfaces = 1 };
	uint8_t *message = calloc(1, 240 + size), reply[DHCP_REPLY_MAX];
	struct sockaddr_in to;
	size_t n;

	netd.machines = &machine;
	memcpy(message, head, sizeof(head));
	memcpy(message + 236, cookie, sizeof(cookie));
	if (size)
		memcpy(message + 240, data, size);
	n = venv__dhcp_serve(&network, message, 240 + size, reply, &to);
	if (n)
		check(reply, n);
	n = size < 4 ? 0 : venv__dhcp_serve(&network, data, size, reply, &to);
	if (n)
		check(reply, n);
	free(message);
	return 0;
}
