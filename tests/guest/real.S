/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A firmware image of 64 KiB: from the reset vector at the end of 4 GiB down into real mode below 1 MiB, up into
 * protected mode and back again. Each says so on COM1.
 */
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
	lgdtl gdt_pointer
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $0xf0000 + protected

	.code32
protected:
	mov $16, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0xf0000 + protected_text, %esi
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ljmp $24, $back /* 16 bits first */

	.code16
back:
	mov $32, %ax
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

say:
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ret

real_text: .asciz "real mode\n"
protected_text: .asciz "protected mode\n"
home_text: .asciz "real mode again\n"

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff /* code, 32 bits, flat */
	.quad 0x00cf93000000ffff /* data, flat */
	.quad 0x00009b0f0000ffff /* code, 16 bits, at 0xf0000 */
	.quad 0x0000930f0000ffff /* data there */
gdt_pointer:
	.word 39
	.long 0xf0000 + gdt

	.org 0xfff0
	ljmp $0xf000, $_start
	.org 0x10000
	.section .note.GNU-stack, "", @progbits
