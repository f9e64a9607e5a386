/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of the guests in long mode (RSI: zero page), their interrupts, and what a second processor begins with. */
	.section .text.start, "ax"
	.globl _start
_start:
	lea stack_end(%rip), %rsp
	mov %rsi, %rdi
	call guest_main
1:	cli
	hlt
	jmp 1b

	.text
	/* a stub for each vector: number, then the common part */
	.globl vector_stubs
vector_stubs:
	vector = 0
	.rept 256
	.balign 16
	push $vector
	jmp common
	vector = vector + 1
	.endr

common:
	push %rax
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	mov 72(%rsp), %rdi
	cld
	call on_interrupt
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rax
	add $8, %rsp
	iretq

	/* Copied to where the SIPI points; notes its APIC id (CPUID leaf 1), counts itself in and stays there. */
	.globl trampoline, trampoline_end
	.code16
trampoline:
	mov %cs, %ax
	mov %ax, %ds
	mov $1, %eax
	cpuid
	shr $24, %ebx
	movb $1, 0x900(%bx)
	lock incw 0x800
1:	cli
	hlt
	jmp 1b
trampoline_end:
	.code64

	.bss
	.balign 16
	.skip 8192
stack_end:
	.section .note.GNU-stack, "", @progbits
