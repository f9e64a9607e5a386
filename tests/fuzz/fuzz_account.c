/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine's root can write and venv-enter reads: /etc/passwd, /etc/group, /etc/hosts and answers of
 * a name server. "\n%%\n" ends each: the wanted user, passwd, group, hosts, packet.
 */
#include <stdlib.h>
#include <string.h>

#include "enter/account.h"
#include "enter/names.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { PARTS = 5 };

/* The next part, with a zero behind it. */
static char *next_part(const unsigned char **data, size_t *size, size_t *ret_length)
{
	static const char mark[] = "\n%%\n";
	const unsigned char *end = memmem(*data, *size, mark, sizeof(mark) - 1);
	size_t length = end ? (size_t)(end - *data) : *size;
	size_t taken = length + (end ? sizeof(mark) - 1 : 0);
	char *part = malloc(length + 1);

	if (!part)
		abort();
	memcpy(part, *data, length);
	part[length] = '\0';
	*data += taken;
	*size -= taken;
	*ret_length = length;
	return part;
}

static void check(const struct account *account)
{
	if (account->uid > 65535 || account->gid > 65535 || account->home[0] != '/' ||
	    account->shell[0] != '/' || strlen(account->name) >= sizeof(account->name))
		abort();
}

static void packet(const unsigned char *bytes, size_t length)
{
	struct sockaddr_storage found[NAMES_MAX];
	unsigned char *copy = malloc(length + 1); /* of just that size */
	unsigned id = length >= 2 ? (unsigned)bytes[0] << 8 | bytes[1] : 0;

	if (!copy)
		abort();
	memcpy(copy, bytes, length);
	if (enter_names_answer(copy, length, id, found, NAMES_MAX) > NAMES_MAX)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct sockaddr_storage found[NAMES_MAX];
	unsigned char query[DNS_MAX];
	struct account account;
	char *parts[PARTS];
	size_t lengths[PARTS];

	for (int i = 0; i < PARTS; i++)
		parts[i] = next_part(&data, &size, &lengths[i]);
	if (enter_account_parse(parts[1], parts[2], parts[0], &account) == 0)
		check(&account);
	if (enter_names_in_hosts(parts[3], parts[0], found) > NAMES_MAX ||
	    enter_names_query(parts[0], 1, 7, query) > sizeof(query))
		abort();
	packet((const unsigned char *)parts[4], lengths[4]);
	for (int i = 0; i < PARTS; i++)
		free(parts[i]);
	return 0;
}
