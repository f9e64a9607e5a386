/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first sector of a disk, which firmware starts in real mode: DL is the disk. It reads the next sector by INT 13h.
 * The first time that is empty: it says "first boot", sets up PIC and PIT, which this firmware may leave alone, waits
 * for ticks, marks the sector and resets the machine. The second time it says "second boot" and switches off.
 * What goes wrong it says with a '!', and halts.
 */
	MARK = 0x6b72616d /* "mark" */
	BUFFER = 0x8000
	IRQ0 = 8          /* the vector of a PC's timer, in real mode */
	TICKS = 3
	RELOAD = 11932    /* of the PIT: 100 Hz */

	.macro out8 port, value
	mov $\value, %al
	outb %al, $\port
	.endm

	.code16
	.text
	.globl _start
_start:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	mov $0x42, %ah
	call transfer
	cmpl $MARK, BUFFER
	je second
	cmpl $0, BUFFER
	jne wrong

	mov $first_text, %si
	call say
	call wait_ticks
	movl $MARK, BUFFER
	mov $0x43, %ah
	call transfer
	mov $0xfe, %al /* the keyboard controller's reset line */
	outb %al, $0x64
	jmp stay

second:
	mov $second_text, %si
	call say
	mov $0x600, %dx /* ACPI's sleep control */
	mov $0x34, %al
	outb %al, %dx
stay:
	hlt
	jmp stay

	/* AH: 0x42 reads, 0x43 writes; keeps DL */
transfer:
	mov $0, %al
	mov $packet, %si
	int $0x13
	jc wrong
	ret

wrong:
	mov $wrong_text, %si
	call say
	jmp stay

wait_ticks:
	cli
	movw $on_tick, 4 * IRQ0
	movw $0, 4 * IRQ0 + 2
	out8 0x20, 0x11 /* four words: with a second PIC, */
	out8 0x21, IRQ0 /* its vectors, */
	out8 0x21, 4    /* the other one at line 2, */
	out8 0x21, 1    /* as in a PC */
	out8 0x21, 0xfe /* line 0 alone */
	out8 0x43, 0x34 /* counter 0 again and again */
	out8 0x40, RELOAD & 0xff
	out8 0x40, RELOAD >> 8
1:	sti
	hlt
	cli
	cmpb $TICKS, ticks
	jb 1b
	out8 0x21, 0xff
	ret

on_tick:
	push %ax
	incb ticks
	out8 0x20, 0x20
	pop %ax
	iret
ticks:	.byte 0

	.include "say.inc"

first_text: .asciz "first boot\n"
second_text: .asciz "second boot\n"
wrong_text: .asciz "wrong!\n"

	.balign 4
packet:
	.byte 16, 0
	.word 1         /* sector */
	.word BUFFER, 0 /* there */
	.quad 1         /* from there */

	.org 510
	.word 0xaa55
	.section .note.GNU-stack, "", @progbits
