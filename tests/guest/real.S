/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A firmware image of 64 KiB: from the reset vector at the end of 4 GiB down into real mode below 1 MiB, up into
 * protected mode and back again. Each says so on COM1.
 */
	.include "firmware.inc"

	.code16
	.text
	.globl _start
_start:
	cli
	mov %cs, %ax
	mov %ax, %ds
	xor %ax, %ax
	mov %ax, %ss
	mov $0x7000, %sp
	mov $real_text, %si
	call say
	enter_protected_mode
	mov $0xf0000 + protected_text, %esi
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ljmp $32, $back /* 16 bits first */

	.code16
back:
	mov $40, %ax
	mov %ax, %ds
	mov %cr0, %eax
	and $0xfe, %al
	mov %eax, %cr0
	ljmp $0xf000, $home
home:
	mov %cs, %ax
	mov %ax, %ds
	mov $home_text, %si
	call say
	mov $0x600, %dx
	mov $0x34, %al
	outb %al, %dx
1:	hlt
	jmp 1b

	.include "say.inc"

real_text: .asciz "real mode\n"
protected_text: .asciz "protected mode\n"
home_text: .asciz "real mode again\n"

	finish_image
