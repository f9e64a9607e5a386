/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A firmware image of 64 KiB that sets the mask of the first PIC and looks at PCI's configuration, in protected mode
 * and then twice in long mode. After each look it says on COM1 what became of the mask: 'k' kept, 'm' all masked,
 * 'k' kept; '-' where it is anything else.
 */
	.include "firmware.inc"

	.code16
	.text
	.globl _start

	.macro look
	mov $0xcf8, %dx
	mov $0x80000000, %eax
	outl %eax, %dx
	mov $0xcfc, %dx
	inl %dx, %eax
	.endm

	.macro expect mask, said
	mov $\said, %bl
	inb $0x21, %al
	cmp $\mask, %al
	je 1f
	mov $0x2d, %bl
1:	mov %bl, %al
	mov $0x3f8, %dx
	outb %al, %dx
	.endm

_start:
	cli
	mov %cs, %ax
	mov %ax, %ds
	mov $0xfa, %al
	outb %al, $0x21
	enter_protected_mode
	look
	expect 0xfa, 0x6b
	/* the first 2 MiB, as they are */
	movl $0x11003, 0x10000
	movl $0x12003, 0x11000
	movl $0x83, 0x12000
	mov $0x10000, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %al
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	ljmp $24, $0xf0000 + long_mode

	.code64
long_mode:
	look
	expect 0xff, 0x6d
	mov $0xfa, %al /* whoever wants them all the same */
	outb %al, $0x21
	look
	expect 0xfa, 0x6b
	mov $0x600, %dx
	mov $0x34, %al
	outb %al, %dx
1:	hlt
	jmp 1b

	finish_image
