/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generation id: 16 random bytes in the guest's memory, others after each restore. A guest whose
 * state may have run before sees it and seeds its random numbers anew.
 */
#ifndef VMM_VMGENID_H
#define VMM_VMGENID_H

#include "../mem.h"

enum { VMGENID_SIZE = 16 };

/* A new one at address, without a word: before the first run. 0 or -errno */
int vmgenid_make(const struct mem *mem, uint64_t address);
/* A new one, and the interrupt by irq_fd: before a restored machine runs. */
int vmgenid_renew(const struct mem *mem, uint64_t address, int irq_fd);

#endif
