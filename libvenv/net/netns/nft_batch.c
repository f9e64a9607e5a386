/* SPDX-License-Identifier: Apache-2.0 */
#include "nft_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "util/cleanup.h"

enum {
	MESSAGE_MAX = 1024, /* no message of ours is longer */
	STATE_ESTABLISHED = 1 << (IP_CT_ESTABLISHED + 1),
	STATE_RELATED = 1 << (IP_CT_RELATED + 1),
};

void nft_batch_done(struct batch *batch)
{
	free(batch->buffer);
	batch->buffer = NULL;
}

static struct nlmsghdr *put(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family,
			    uint16_t resource)
{
	struct nlmsghdr *header;
	struct nfgenmsg *body;

	if (batch->size - batch->length < MESSAGE_MAX) {
		size_t size = batch->size ? batch->size * 2 : 8 * (size_t)MESSAGE_MAX;
		char *grown = realloc(batch->buffer, size);

		if (!grown) {
			/* go on writing over the last message: the commit fails */
			batch->failed = true;
			batch->length = 0;
		} else {
			batch->buffer = grown;
			batch->size = size;
		}
	}
	if (!batch->buffer)
		return NULL;
	header = mnl_nlmsg_put_header(batch->buffer + batch->length);
	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header->nlmsg_seq = ++batch->sequence;
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->nfgen_family = family;
	body->version = NFNETLINK_V0;
	body->res_id = htons(resource);
	batch->message = header;
	return header;
}

static void finish(struct batch *batch)
{
	batch->length += batch->message->nlmsg_len; /* padded already */
}

static struct nlmsghdr *begin(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family)
{
	return put(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0);
}

void nft_begin(struct batch *batch)
{
	if (put(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES))
		finish(batch);
}

void nft_table(struct batch *batch, uint16_t type, uint8_t family, const char *name)
{
	struct nlmsghdr *m =
		begin(batch, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, family);

	if (!m)
		return;
	mnl_attr_put_strz(m, NFTA_TABLE_NAME, name);
	finish(batch);
}

void nft_chain(struct batch *batch, uint8_t family, const char *table, const char *name,
	       const struct hook *hook)
{
	struct nlmsghdr *m = begin(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, family);
	struct nlattr *nest;

	if (!m)
		return;
	mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(m, NFTA_CHAIN_NAME, name);
	if (hook) {
		nest = mnl_attr_nest_start(m, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(m, NFTA_HOOK_HOOKNUM, htonl(hook->number));
		mnl_attr_put_u32(m, NFTA_HOOK_PRIORITY, htonl((uint32_t)hook->priority));
		if (hook->device)
			mnl_attr_put_strz(m, NFTA_HOOK_DEV, hook->device);
		mnl_attr_nest_end(m, nest);
		mnl_attr_put_u32(m, NFTA_CHAIN_POLICY, htonl(hook->policy));
		mnl_attr_put_strz(m, NFTA_CHAIN_TYPE, hook->type);
	}
	finish(batch);
}

void nft_chain_delete(struct batch *batch, uint8_t family, const char *table, const char *name)
{
	struct nlmsghdr *m = begin(batch, NFT_MSG_DELCHAIN, 0, family);

	if (!m)
		return;
	mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(m, NFTA_CHAIN_NAME, name);
	finish(batch);
}

void nft_flush(struct batch *batch, uint8_t family, const char *table, const char *chain)
{
	struct nlmsghdr *m = begin(batch, NFT_MSG_DELRULE, 0, family);

	if (!m)
		return;
	mnl_attr_put_strz(m, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(m, NFTA_RULE_CHAIN, chain);
	finish(batch);
}

void nft_rule(struct batch *batch, uint8_t family, const char *table, const char *chain)
{
	struct nlmsghdr *m = begin(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family);

	if (!m)
		return;
	mnl_attr_put_strz(m, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(m, NFTA_RULE_CHAIN, chain);
	batch->expressions = mnl_attr_nest_start(m, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct batch *batch)
{
	if (!batch->buffer)
		return;
	mnl_attr_nest_end(batch->message, batch->expressions);
	finish(batch);
}

struct expression {
	struct nlattr *element, *data;
};

static struct expression open_expression(struct batch *batch, const char *name)
{
	struct expression ret;

	ret.element = mnl_attr_nest_start(batch->message, NFTA_LIST_ELEM);
	mnl_attr_put_strz(batch->message, NFTA_EXPR_NAME, name);
	ret.data = mnl_attr_nest_start(batch->message, NFTA_EXPR_DATA);
	return ret;
}

static void close_expression(struct batch *batch, struct expression expression)
{
	mnl_attr_nest_end(batch->message, expression.data);
	mnl_attr_nest_end(batch->message, expression.element);
}

static void put_u32(struct batch *batch, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(batch->message, type, htonl(value));
}

static void put_value(struct batch *batch, uint16_t type, const void *value, uint16_t length)
{
	struct nlattr *nest = mnl_attr_nest_start(batch->message, type);

	mnl_attr_put(batch->message, NFTA_DATA_VALUE, length, value);
	mnl_attr_nest_end(batch->message, nest);
}

void nft_meta(struct batch *batch, uint32_t key)
{
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "meta");
	put_u32(batch, NFTA_META_KEY, key);
	put_u32(batch, NFTA_META_DREG, NFT_REG_1);
	close_expression(batch, e);
}

void nft_payload(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length)
{
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "payload");
	put_u32(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_u32(batch, NFTA_PAYLOAD_BASE, base);
	put_u32(batch, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(batch, NFTA_PAYLOAD_LEN, length);
	close_expression(batch, e);
}

void nft_compare(struct batch *batch, uint32_t how, const void *value, uint16_t length)
{
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "cmp");
	put_u32(batch, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(batch, NFTA_CMP_OP, how);
	put_value(batch, NFTA_CMP_DATA, value, length);
	close_expression(batch, e);
}

void nft_compare_u32(struct batch *batch, uint32_t how, uint32_t value)
{
	nft_compare(batch, how, &value, sizeof(value));
}

void nft_interface(struct batch *batch, uint32_t key, uint32_t how, const char *name)
{
	char padded[IFNAMSIZ] = { 0 };

	memcpy(padded, name, strnlen(name, IFNAMSIZ - 1));
	nft_meta(batch, key);
	nft_compare(batch, how, padded, sizeof(padded));
}

void nft_established(struct batch *batch)
{
	uint32_t mask = STATE_ESTABLISHED | STATE_RELATED, zero = 0;
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "ct");
	put_u32(batch, NFTA_CT_KEY, NFT_CT_STATE);
	put_u32(batch, NFTA_CT_DREG, NFT_REG_1);
	close_expression(batch, e);
	e = open_expression(batch, "bitwise");
	put_u32(batch, NFTA_BITWISE_SREG, NFT_REG_1);
	put_u32(batch, NFTA_BITWISE_DREG, NFT_REG_1);
	put_u32(batch, NFTA_BITWISE_LEN, sizeof(mask));
	put_value(batch, NFTA_BITWISE_MASK, &mask, sizeof(mask));
	put_value(batch, NFTA_BITWISE_XOR, &zero, sizeof(zero));
	close_expression(batch, e);
	nft_compare_u32(batch, NFT_CMP_NEQ, 0);
}

void nft_verdict(struct batch *batch, int code, const char *chain)
{
	struct nlattr *data, *verdict;
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "immediate");
	put_u32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(batch->message, NFTA_IMMEDIATE_DATA);
	verdict = mnl_attr_nest_start(batch->message, NFTA_DATA_VERDICT);
	put_u32(batch, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		mnl_attr_put_strz(batch->message, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(batch->message, verdict);
	mnl_attr_nest_end(batch->message, data);
	close_expression(batch, e);
}

void nft_masquerade(struct batch *batch)
{
	if (batch->buffer)
		close_expression(batch, open_expression(batch, "masq"));
}

void nft_reject(struct batch *batch)
{
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "reject");
	put_u32(batch, NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
	mnl_attr_put_u8(batch->message, NFTA_REJECT_ICMP_CODE, ICMP_PKT_FILTERED);
	close_expression(batch, e);
}

void nft_set_mark(struct batch *batch, uint32_t mark)
{
	struct expression e;

	if (!batch->buffer)
		return;
	e = open_expression(batch, "immediate");
	put_u32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_1);
	put_value(batch, NFTA_IMMEDIATE_DATA, &mark, sizeof(mark));
	close_expression(batch, e);
	e = open_expression(batch, "meta");
	put_u32(batch, NFTA_META_KEY, NFT_META_MARK);
	put_u32(batch, NFTA_META_SREG, NFT_REG_1);
	close_expression(batch, e);
}

/* One datagram of answers: keeps the first failure. true: the last message's was among them. */
static bool take_answers(const char *data, int length, uint32_t last, int *result)
{
	const struct nlmsghdr *header = (const void *)data;

	for (; mnl_nlmsg_ok(header, length); header = mnl_nlmsg_next(header, &length)) {
		const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);

		if (header->nlmsg_type != NLMSG_ERROR)
			continue;
		if (answer->error && !*result)
			*result = answer->error;
		if (header->nlmsg_seq == last || header->nlmsg_seq == 1)
			return true;
	}
	return false;
}

/* Errors come for any message, the acknowledgement for the last one. */
static int read_answers(int fd, uint32_t last)
{
	_Alignas(8) char data[16384];
	int result = 0;

	for (;;) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return result ? result : n < 0 ? -errno : -EIO;
		if (take_answers(data, (int)n, last, &result))
			return result;
	}
}

int nft_commit(struct batch *batch)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval patience = { .tv_sec = 5 };
	_cleanup_close_ int fd = -1;
	uint32_t last = batch->sequence;

	if (batch->failed || !batch->buffer)
		return -ENOMEM;
	batch->message->nlmsg_flags |= NLM_F_ACK;
	if (!put(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES) || batch->failed)
		return -ENOMEM;
	finish(batch);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (sendto(fd, batch->buffer, batch->length, 0, (const struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	return read_answers(fd, last);
}
