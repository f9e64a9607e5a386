/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction of nf_tables as it is written to nfnetlink. Used by nft.c only. */
#ifndef VENV_NET_NFT_BATCH_H
#define VENV_NET_NFT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"

struct nlattr;
struct nlmsghdr;

struct batch {
	char *buffer;
	size_t size, length;
	bool failed; /* out of memory: sticky */
	struct nlmsghdr *message;
	struct nlattr *expressions;
	uint32_t sequence;
};

struct hook {
	const char *type; /* "filter", "nat" */
	uint32_t number;
	int priority;
	uint32_t policy;
	const char *device; /* netdev family only */
};

void nft_begin(struct batch *batch);
int nft_commit(
	struct batch *batch); /* 0 or -errno of the first failure: then nothing was changed */
void nft_batch_done(struct batch *batch);
#define _cleanup_batch_ _cleanup_(nft_batch_done)

void nft_table(struct batch *batch, uint16_t type, uint8_t family, const char *name);
void nft_chain(struct batch *batch, uint8_t family, const char *table, const char *name,
	       const struct hook *hook);
void nft_chain_delete(struct batch *batch, uint8_t family, const char *table, const char *name);
void nft_flush(struct batch *batch, uint8_t family, const char *table, const char *chain);

/* A rule: nft_rule(), its expressions in order, nft_rule_end(). Everything loads into one register. */
void nft_rule(struct batch *batch, uint8_t family, const char *table, const char *chain);
void nft_rule_end(struct batch *batch);
void nft_meta(struct batch *batch, uint32_t key);
void nft_payload(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length);
void nft_compare(struct batch *batch, uint32_t how, const void *value, uint16_t length);
void nft_compare_u32(struct batch *batch, uint32_t how, uint32_t value); /* as it is in memory */
void nft_interface(struct batch *batch, uint32_t key, uint32_t how, const char *name);
void nft_established(struct batch *batch);
void nft_verdict(struct batch *batch, int code, const char *chain);
void nft_masquerade(struct batch *batch);
void nft_reject(
	struct batch *batch); /* "administratively prohibited": seen at once as unreachable */
void nft_set_mark(struct batch *batch, uint32_t mark);

#endif
