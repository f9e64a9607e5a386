/* SPDX-License-Identifier: Apache-2.0 */
/* The registers with which the first processor begins; descriptors as boot_tables() has put them there. */
#include "private.h"

enum {
	CR0_PE = 1,
	CR0_ET = 1 << 4,
	CR4_PAE = 1 << 5,
	RFLAGS_FIXED = 2,
	TYPE_CODE = 11, /* execute, read, accessed */
	TYPE_DATA = 3,  /* read, write, accessed */
	TYPE_TSS = 11,  /* busy */
	TSS_LIMIT = 0x67,
};

#define CR0_PG (1U << 31)

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool is_long)
{
	return (struct kvm_segment){ .limit = UINT32_MAX,
				     .selector = selector,
				     .type = type,
				     .present = 1,
				     .s = 1,
				     .db = !is_long,
				     .l = is_long,
				     .g = 1 };
}

static void set_segments(struct kvm_sregs *sregs, bool is_long)
{
	const struct kvm_segment data = flat(BOOT_DS, TYPE_DATA, false);

	sregs->cs = flat(is_long ? BOOT_CS : BOOT_CS_32, TYPE_CODE, is_long);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){
		.limit = TSS_LIMIT, .selector = BOOT_TSS, .type = TYPE_TSS, .present = 1
	};
	sregs->gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = BOOT_GDT_SIZE - 1 };
	sregs->idt = (struct kvm_dtable){ .base = LAYOUT_IDT };
}

static void set_long_mode(struct kvm_sregs *sregs)
{
	sregs->cr3 = LAYOUT_PAGE_TABLES;
	sregs->cr4 |= CR4_PAE;
	sregs->cr0 |= CR0_PG;
	sregs->efer |= EFER_LME | EFER_LMA;
}

int regs_enter(const struct vcpu *vcpu, const struct boot_entry *entry, venv_error **err)
{
	bool is_long = entry->mode == BOOT_LONG;
	struct kvm_regs regs = { .rflags = RFLAGS_FIXED, .rip = entry->ip, .rsp = LAYOUT_STACK };
	struct kvm_sregs sregs = { 0 };
	int r;

	if (entry->mode == BOOT_RESET)
		return 0;
	r = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (r == 0) {
		sregs.cr0 = CR0_PE | CR0_ET;
		sregs.cr4 = 0;
		set_segments(&sregs, is_long);
		if (is_long)
			set_long_mode(&sregs);
		r = kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	}
	if (is_long)
		regs.rsi = entry->argument;
	else
		regs.rbx = entry->argument;
	if (r == 0)
		r = kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
	return r < 0 ? venv__fail_errno(err, -r, "cannot set up the first processor") : 0;
}
