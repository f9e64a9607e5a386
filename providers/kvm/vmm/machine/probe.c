/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <poll.h>
#include <string.h>

#include "kvm.h"
#include "layout.h"
#include "platform/power.h"
#include "vm.h"

/*
 * The guest, in long mode, at GUEST. What it tries is what Linux needs before its first process: cmpxchg16b
 * in the allocator, xgetbv for the FPU, int3 in its self-test, popcnt everywhere.
 */
enum { GUEST = 0x10000, TIMEOUT_MS = 2000, SUCCESS = 0x42 };

extern const uint8_t probe_guest[], probe_guest_handler[], probe_guest_end[];

__asm__(".pushsection .rodata\n"
	"probe_guest:\n"
	"	lidt 3f(%rip)\n"
	"	xor %ecx, %ecx\n"
	"	mov %cr4, %rax\n"
	"	or $0x40600, %eax\n" /* OSXSAVE, OSFXSR, OSXMMEXCPT */
	"	mov %rax, %cr4\n"
	"	popcnt %rax, %rax\n"
	"	and $-16, %rsp\n"
	"	lock cmpxchg16b -16(%rsp)\n"
	"	xor %ecx, %ecx\n"
	"	xgetbv\n"
	"	int3\n"
	"	mov $0x42, %al\n"
	"	out %al, $0xf4\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"probe_guest_handler:\n"
	"	iretq\n"
	"3:	.word 63\n"
	"	.quad 0x540\n" /* LAYOUT_IDT */
	"probe_guest_end:\n"
	".popsection\n");

/* A gate for int3. */
static int write_guest(const struct mem *mem)
{
	enum { VECTOR = 3, INTERRUPT_GATE = 0x8e };
	/* cppcheck-suppress comparePointers ; labels of one section */
	const uint32_t handler = GUEST + (uint32_t)(probe_guest_handler - probe_guest);
	const uint64_t gate[2] = { (handler & 0xffff) | (uint64_t)BOOT_CS << 16 |
				   (uint64_t)INTERRUPT_GATE << 40 |
				   (uint64_t)(handler >> 16) << 48 };
	int r = mem_write(mem, LAYOUT_IDT + VECTOR * sizeof(gate), gate, sizeof(gate));

	if (r == 0)
		/* cppcheck-suppress comparePointers */
		r = mem_write(mem, GUEST, probe_guest, (size_t)(probe_guest_end - probe_guest));
	return r;
}

static void on_exit_port(void *user, enum power_event event, unsigned value)
{
	(void)event;
	vm_finish(user, VM_DEBUG_EXIT, value, "");
}

static int verdict(struct vm *vm, venv_error **err)
{
	char text[256];
	unsigned value;
	enum vm_end end = vm_ended(vm, &value, text, sizeof(text));
	int r;

	if (end == VM_DEBUG_EXIT && value == SUCCESS)
		return 0;
	r = venv__fail(
		err, VENV_ERR_HOST,
		"this host's KVM interprets guest kernels: unmodified kernels do not boot (%s)",
		end == VM_RUNS ? "no answer" : text);
	return venv__hint(r, err,
			  "run containers here ('provider: container'), or switch on nested "
			  "virtualization where this host is a virtual machine itself");
}

static int run(struct vm *vm, const struct mem *mem, venv_error **err)
{
	const struct boot_entry entry = { .mode = BOOT_LONG, .ip = GUEST };
	struct pollfd end = { .fd = vm_end_fd(vm), .events = POLLIN };
	int r = boot_tables(mem, err);

	if (r == 0 && write_guest(mem) < 0)
		r = venv__fail(err, VENV_ERR_SYSTEM, "no memory for a guest");
	if (r == 0)
		r = vm_enter(vm, &entry, err);
	if (r == 0)
		r = vm_start(vm, NULL, NULL, err);
	if (r < 0)
		return r;
	vm_resume(vm);
	(void)poll(&end, 1, TIMEOUT_MS);
	vm_pause(vm);
	return verdict(vm, err);
}

static int probe(int kvm_fd, const struct mem *mem, struct bus *ports, struct bus *memory,
		 venv_error **err)
{
	const struct vm_config config = {
		.mem = mem, .ports = ports, .memory = memory, .cpus = { 1, 1 }
	};
	struct power power = { .event = on_exit_port, .button_fd = -1 };
	struct vm *vm = NULL;
	int r = vm_new(kvm_fd, &config, &vm, err);

	if (r < 0)
		return r;
	power.user = vm;
	if (bus_add(ports, LAYOUT_PORT_DEBUG_EXIT, DEBUG_EXIT_PORTS, &debug_exit_ops, &power) < 0)
		r = venv__fail_nomem(err);
	else
		r = run(vm, mem, err);
	vm_free(vm);
	return r;
}

int probe_host(venv_error **err)
{
	_cleanup_close_ int kvm_fd = kvm_open(err);
	struct bus ports, memory;
	struct mem mem;
	int r;

	if (kvm_fd < 0)
		return kvm_fd;
	r = mem_init(&mem, MEM_ALIGN, -1, 0, err);
	if (r < 0)
		return r;
	(void)bus_init(&ports);
	(void)bus_init(&memory);
	r = probe(kvm_fd, &mem, &ports, &memory, err);
	bus_done(&memory);
	bus_done(&ports);
	mem_done(&mem);
	return r;
}
