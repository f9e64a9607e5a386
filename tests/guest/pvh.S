/* SPDX-License-Identifier: Apache-2.0 */
/* A guest by PVH: 32 bits, EBX holds the start info. Says so on COM1 and switches off. */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18 /* name, content, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long _start

	.section .text.start, "ax"
	.code32
	.globl _start
_start:
	mov $1, %al
	cmpl $0x336ec578, (%ebx)
	jne 2f
	mov $message, %esi
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 3f
	outb %al, %dx
	jmp 1b
2:	outb %al, $0xf4
3:	mov $0x600, %dx
	mov $0x34, %al
	outb %al, %dx
4:	cli
	hlt
	jmp 4b

	.section .rodata
message:
	.asciz "hello by PVH\n"
	.section .note.GNU-stack, "", @progbits
