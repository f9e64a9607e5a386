/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's processors and controllers as a state. The orders are KVM's: reading MP_STATE settles
 * what an interrupt has begun, so it is first; events are last, or what comes before would undo them.
 */
#include <string.h>

#include "private.h"
#include "state.h"

enum {
	TAG_VCPU = STATE_TAG('V', 'C', 'P', 'U'),
	TAG_CHIPS = STATE_TAG('C', 'H', 'I', 'P'),
	VERSION = 1,
	PIECE_MAX = 65536,
};

/* What is read and written as a block of bytes. */
struct piece {
	unsigned long get, set;
	size_t size;
};

static const struct piece registers[] = {
	{ KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state) },
	{ KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs) },
	{ KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs) },
	{ KVM_GET_XSAVE2, KVM_SET_XSAVE, 0 }, /* as large as the host says */
	{ KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs) },
	{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs) },
	{ KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state) },
};

static const struct piece events[] = {
	{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events) },
};

static int save_pieces(const struct vcpu *vcpu, const struct piece *pieces, size_t n,
		       struct state_writer *writer)
{
	_cleanup_free_ uint8_t *block = calloc(1, PIECE_MAX);
	int r = block ? 0 : -ENOMEM;

	state_begin(writer, TAG_VCPU, VERSION);
	for (size_t i = 0; r == 0 && i < n; i++) {
		size_t size = pieces[i].size ? pieces[i].size : vcpu->vm->xsave_size;
		unsigned long get = pieces[i].get;

		if (get == KVM_GET_XSAVE2 && size == sizeof(struct kvm_xsave))
			get = KVM_GET_XSAVE; /* older hosts have only this */
		memset(block, 0, PIECE_MAX);
		r = size <= PIECE_MAX ? kvm_ioctl(vcpu->fd, get, block) : -EFBIG;
		state_put_u32(writer, (uint32_t)size);
		state_put(writer, block, size);
	}
	return r < 0 ? r : state_end(writer);
}

static int load_pieces(const struct vcpu *vcpu, const struct piece *pieces, size_t n,
		       struct state_reader *reader)
{
	_cleanup_free_ uint8_t *block = calloc(1, PIECE_MAX);
	int r = state_enter(reader, TAG_VCPU, VERSION);

	if (!block)
		return -ENOMEM;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		size_t size = pieces[i].size ? pieces[i].size : vcpu->vm->xsave_size;

		if (state_get_u32(reader) != size || size > PIECE_MAX)
			return -EPROTO;
		state_get(reader, block, size);
		r = reader->failed ? reader->failed : kvm_ioctl(vcpu->fd, pieces[i].set, block);
	}
	return r < 0 ? r : state_leave(reader);
}

int vcpu_save(const struct vcpu *vcpu, struct state_writer *writer)
{
	int r = save_pieces(vcpu, registers, ARRAY_SIZE(registers), writer);

	if (r == 0)
		r = msr_save(vcpu, writer);
	return r < 0 ? r : save_pieces(vcpu, events, ARRAY_SIZE(events), writer);
}

int vcpu_load(const struct vcpu *vcpu, struct state_reader *reader)
{
	int r = load_pieces(vcpu, registers, ARRAY_SIZE(registers), reader);

	if (r == 0)
		r = msr_load(vcpu, reader);
	return r < 0 ? r : load_pieces(vcpu, events, ARRAY_SIZE(events), reader);
}

static size_t cpuid_size(const struct vm *vm)
{
	return vm->cpuid->nent * sizeof(vm->cpuid->entries[0]);
}

/* The shape of the machine and its kind of processor: neither changes over a restore. */
static int save_kind(const struct vm *vm, struct state_writer *writer)
{
	state_begin(writer, VM_STATE_TAG, VERSION);
	state_put_u32(writer, vm->n_vcpus);
	state_put_u8(writer, vm->config.firmware);
	state_put_u32(writer, vm->cpuid->nent);
	state_put(writer, vm->cpuid->entries, cpuid_size(vm));
	return state_end(writer);
}

/* @return -ENOTSUP: another kind of processor; -EPROTO: another machine */
static int check_kind(const struct vm *vm, struct state_reader *reader)
{
	_cleanup_free_ uint8_t *entries = malloc(cpuid_size(vm) + 1);
	int r = state_enter(reader, VM_STATE_TAG, VERSION);

	if (!entries)
		return -ENOMEM;
	if (r < 0)
		return r;
	if (state_get_u32(reader) != vm->n_vcpus || state_get_u8(reader) != vm->config.firmware)
		return -EPROTO;
	if (state_get_u32(reader) != vm->cpuid->nent)
		return reader->failed ? reader->failed : -ENOTSUP;
	state_get(reader, entries, cpuid_size(vm));
	r = state_leave(reader);
	if (r < 0)
		return r;
	return memcmp(entries, vm->cpuid->entries, cpuid_size(vm)) == 0 ? 0 : -ENOTSUP;
}

enum { CHIPS = 3 }; /* two PICs and the IOAPIC */

static int save_chips(const struct vm *vm, struct state_writer *writer)
{
	struct kvm_clock_data clock = { 0 };
	struct kvm_pit_state2 pit = { 0 };
	int r = kvm_ioctl(vm->fd, KVM_GET_CLOCK, &clock);

	state_begin(writer, TAG_CHIPS, VERSION);
	state_put_u64(writer, clock.clock);
	for (uint32_t i = 0; r == 0 && i < CHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
		state_put(writer, &chip, sizeof(chip));
	}
	if (r == 0 && vm->config.firmware)
		r = kvm_ioctl(vm->fd, KVM_GET_PIT2, &pit);
	state_put(writer, &pit, sizeof(pit));
	return r < 0 ? r : state_end(writer);
}

static int load_chips(const struct vm *vm, struct state_reader *reader)
{
	struct kvm_clock_data clock = { 0 };
	struct kvm_pit_state2 pit;
	int r = state_enter(reader, TAG_CHIPS, VERSION);

	if (r < 0)
		return r;
	clock.clock = state_get_u64(reader);
	r = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &clock);
	for (uint32_t i = 0; r == 0 && i < CHIPS; i++) {
		struct kvm_irqchip chip;

		state_get(reader, &chip, sizeof(chip));
		if (reader->failed || chip.chip_id != i)
			return -EPROTO;
		r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
	}
	state_get(reader, &pit, sizeof(pit));
	if (r == 0 && vm->config.firmware)
		r = kvm_ioctl(vm->fd, KVM_SET_PIT2, &pit);
	return r < 0 ? r : state_leave(reader);
}

int vm_save(struct vm *vm, struct state_writer *writer)
{
	int r = save_kind(vm, writer);

	for (unsigned i = 0; r == 0 && i < vm->n_vcpus; i++)
		r = vcpu_save(&vm->vcpus[i], writer);
	return r < 0 ? r : save_chips(vm, writer);
}

int vm_load(struct vm *vm, struct state_reader *reader)
{
	int r = check_kind(vm, reader);

	vm->pics_left = false;
	for (unsigned i = 0; r == 0 && i < vm->n_vcpus; i++)
		r = vcpu_load(&vm->vcpus[i], reader);
	return r < 0 ? r : load_chips(vm, reader);
}
