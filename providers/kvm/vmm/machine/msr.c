/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers: the few that a processor needs to start with, and all of them for a state. */
#include <string.h>

#include "private.h"
#include "state.h"

enum {
	MSR_TSC = 0x10,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_MTRR_DEFAULT = 0x2ff,
	MSR_TSC_DEADLINE = 0x6e0,
	MISC_FAST_STRINGS = 1,
	MTRR_ON_WRITE_BACK = 1 << 11 | 6,
	MSRS_MAX = 1024,
	TAG = STATE_TAG('M', 'S', 'R', 'S'),
	VERSION = 1,
};

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MSRS_MAX];
};

struct msr_list {
	struct kvm_msr_list head;
	uint32_t indices[MSRS_MAX];
};

int msr_init(const struct vcpu *vcpu, venv_error **err)
{
	const struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = { .head = { .nmsrs = 2 },
		   .entries = { { .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRINGS },
				{ .index = MSR_MTRR_DEFAULT, .data = MTRR_ON_WRITE_BACK } } };
	int r = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);

	/* The count of those that were taken: a host that lacks one has its reasons. */
	return r < 0 ? venv__fail_errno(err, -r, "cannot set up processor %u", vcpu->index) : 0;
}

static int list_all(const struct vcpu *vcpu, struct msr_list *list)
{
	list->head.nmsrs = MSRS_MAX;
	return kvm_ioctl(vcpu->vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
}

/*
 * KVM stops at the first one that it does not give: that is left out, and the rest asked for again.
 * @return how many of `ret` are filled, or -errno
 */
static int read_all(const struct vcpu *vcpu, const struct msr_list *list, struct msrs *ret)
{
	uint32_t next = 0, n = 0;

	while (next < list->head.nmsrs) {
		_cleanup_free_ struct msrs *chunk = calloc(1, sizeof(*chunk));
		int r;

		if (!chunk)
			return -ENOMEM;
		while (chunk->head.nmsrs + next < list->head.nmsrs) {
			chunk->entries[chunk->head.nmsrs].index =
				list->indices[next + chunk->head.nmsrs];
			chunk->head.nmsrs++;
		}
		r = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, chunk);
		if (r < 0)
			return r;
		memcpy(&ret->entries[n], chunk->entries, (size_t)r * sizeof(ret->entries[0]));
		n += (uint32_t)r;
		next += (uint32_t)r + 1;
	}
	return (int)n;
}

int msr_save(const struct vcpu *vcpu, struct state_writer *writer)
{
	_cleanup_free_ struct msr_list *list = calloc(1, sizeof(*list));
	_cleanup_free_ struct msrs *msrs = calloc(1, sizeof(*msrs));
	int n;

	if (!list || !msrs)
		return -ENOMEM;
	n = list_all(vcpu, list);
	if (n == 0)
		n = read_all(vcpu, list, msrs);
	if (n < 0)
		return n;
	state_begin(writer, TAG, VERSION);
	state_put_u32(writer, (uint32_t)n);
	for (int i = 0; i < n; i++) {
		state_put_u32(writer, msrs->entries[i].index);
		state_put_u64(writer, msrs->entries[i].data);
	}
	return state_end(writer);
}

/*
 * The deadline fires when the TSC passes it, so the TSC comes first; a deadline of 0 would be none: a
 * timer that was about to fire as the state was taken fires at once.
 */
static void order(struct msrs *msrs)
{
	struct kvm_msr_entry *tsc = NULL, *deadline = NULL;

	for (uint32_t i = 0; i < msrs->head.nmsrs; i++) {
		if (msrs->entries[i].index == MSR_TSC)
			tsc = &msrs->entries[i];
		else if (msrs->entries[i].index == MSR_TSC_DEADLINE)
			deadline = &msrs->entries[i];
	}
	if (!tsc || !deadline)
		return;
	if (deadline->data == 0)
		deadline->data = tsc->data;
	if (deadline < tsc) {
		struct kvm_msr_entry swapped = *tsc;

		*tsc = *deadline;
		*deadline = swapped;
	}
}

/* What KVM does not take it did not mean to give (read-only ones): passed over. */
static int write_all(const struct vcpu *vcpu, struct msrs *msrs)
{
	uint32_t next = 0, n = msrs->head.nmsrs;

	while (next < n) {
		_cleanup_free_ struct msrs *chunk = calloc(1, sizeof(*chunk));
		int r;

		if (!chunk)
			return -ENOMEM;
		chunk->head.nmsrs = n - next;
		memcpy(chunk->entries, &msrs->entries[next],
		       (n - next) * sizeof(chunk->entries[0]));
		r = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, chunk);
		if (r < 0)
			return r;
		next += (uint32_t)r + 1;
	}
	return 0;
}

int msr_load(const struct vcpu *vcpu, struct state_reader *reader)
{
	_cleanup_free_ struct msrs *msrs = calloc(1, sizeof(*msrs));
	int r = state_enter(reader, TAG, VERSION);

	if (!msrs)
		return -ENOMEM;
	if (r < 0)
		return r;
	msrs->head.nmsrs = state_get_u32(reader);
	if (msrs->head.nmsrs > MSRS_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < msrs->head.nmsrs; i++) {
		msrs->entries[i].index = state_get_u32(reader);
		msrs->entries[i].data = state_get_u64(reader);
	}
	r = state_leave(reader);
	if (r < 0)
		return r;
	order(msrs);
	return write_all(vcpu, msrs);
}
