/* SPDX-License-Identifier: Apache-2.0 */
/* Machines on the host's own /dev/kvm, with the guests of tests/guest/: what needs no real kernel. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "boot/e820.h"
#include "machine/kvm.h"
#include "machine/layout.h"
#include "machine/machine.h"
#include "machine/memfile.h"
#include "machine/probe.h"
#include "machine/state.h"
#include "platform/vmgenid.h"
#include "util/sys.h"

enum { PATIENCE_MS = 30000, MEMORY = 16 << 20, VECTOR = 0x41 };

#define DOORBELL 0xd0000000ULL /* as tests/guest/long.c says */

struct guest {
	struct machine *machine;
	int kvm_fd, image_fd;
	pthread_mutex_t lock;
	char output[65536]; /* the last of it */
	size_t length, total;
	unsigned value;
	char text[256];
};

static void on_output(void *user, const void *data, size_t size)
{
	struct guest *guest = user;

	(void)pthread_mutex_lock(&guest->lock);
	guest->total += size;
	if (guest->length + size >= sizeof(guest->output))
		guest->length = 0;
	memcpy(guest->output + guest->length, data, size);
	guest->length += size;
	guest->output[guest->length] = '\0';
	(void)pthread_mutex_unlock(&guest->lock);
}

static int open_guest(const char *name)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	assert_true(asprintf(&path, "%s/%s", getenv("VENV_GUESTS"), name) > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static struct machine_config config_of(struct guest *guest, const char *image, const char *cmdline)
{
	bool firmware = strcmp(image, "guest_real") == 0 || strcmp(image, "guest_pics") == 0;

	guest->image_fd = open_guest(image);
	return (struct machine_config){ .memory = MEMORY,
					.cpus = { 1, 1 },
					.kernel_fd = firmware ? -1 : guest->image_fd,
					.initrd_fd = -1,
					.firmware_fd = firmware ? guest->image_fd : -1,
					.memory_fd = -1,
					.cmdline = cmdline,
					.debug_exit = true,
					.output = on_output,
					.output_user = guest };
}

static struct guest *new_guest(void)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	assert_non_null(guest);
	(void)pthread_mutex_init(&guest->lock, NULL);
	guest->kvm_fd = kvm_open(NULL);
	assert_true(guest->kvm_fd >= 0);
	return guest;
}

static void make(struct guest *guest, const struct machine_config *config,
		 struct state_reader *state)
{
	_cleanup_error_ venv_error *error = NULL;

	if (machine_new(guest->kvm_fd, config, &guest->machine, &error) < 0 ||
	    machine_start(guest->machine, state, NULL, NULL, &error) < 0)
		fail_msg("%s", venv_error_message(error));
}

static struct guest *start(const char *image, const char *cmdline)
{
	struct guest *guest = new_guest();
	const struct machine_config config = config_of(guest, image, cmdline);

	make(guest, &config, NULL);
	machine_resume(guest->machine);
	return guest;
}

static void done(struct guest *guest)
{
	machine_free(guest->machine);
	(void)close(guest->image_fd);
	(void)close(guest->kvm_fd);
	free(guest);
}

static enum vm_end wait_end(struct guest *guest)
{
	struct pollfd fd = { .fd = vm_end_fd(guest->machine->vm), .events = POLLIN };
	eventfd_t count;

	if (poll(&fd, 1, PATIENCE_MS) != 1)
		fail_msg("the guest does not end; it said '%s'", guest->output);
	assert_int_equal(eventfd_read(fd.fd, &count), 0);
	return vm_ended(guest->machine->vm, &guest->value, guest->text, sizeof(guest->text));
}

static bool has_said(struct guest *guest, const char *text)
{
	bool found;

	(void)pthread_mutex_lock(&guest->lock);
	found = strstr(guest->output, text) != NULL;
	(void)pthread_mutex_unlock(&guest->lock);
	return found;
}

static void wait_said(struct guest *guest, const char *text)
{
	for (int i = 0; i < PATIENCE_MS && !has_said(guest, text); i++)
		(void)usleep(1000);
	if (!has_said(guest, text))
		fail_msg("the guest has not said '%s' but '%s'", text, guest->output);
}

static uint64_t exits(const struct guest *guest, enum vm_exit kind)
{
	uint64_t counts[VM_EXIT_KINDS];

	vm_exits(guest->machine->vm, counts);
	return counts[kind];
}

/* Guests that judge for themselves, and end with 0 when all was well. */
static void guests_are_content(void **state)
{
	static const char *const names[] = { "tables", "nobody", "selects", "timer", "pin" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct guest *guest = start("guest_long", names[i]);
		enum vm_end end = wait_end(guest);

		if (end != VM_DEBUG_EXIT || guest->value != 0)
			fail_msg("'%s' ends with %d: %s; it said '%s'", names[i], (int)end,
				 guest->text, guest->output);
		done(guest);
	}
}

static void guests_begin_in_every_mode(void **state)
{
	static const struct {
		const char *image, *says;
	} cases[] = { { "guest_long", "hello from long mode\n" },
		      { "guest_pvh", "hello by PVH\n" },
		      { "guest_real", "real mode\nprotected mode\nreal mode again\n" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest *guest = start(cases[i].image, "hello");
		enum vm_end end = wait_end(guest);

		if (end != VM_POWER_OFF)
			fail_msg("%s: %s", cases[i].image, guest->text);
		assert_string_equal(guest->output, cases[i].says);
		assert_int_equal(exits(guest, VM_EXIT_IO_OUT), strlen(cases[i].says) + 1);
		assert_int_equal(exits(guest, VM_EXIT_MMIO_WRITE), 0);
		done(guest);
	}
}

/* Else a kernel that leaves the PICs alone takes what waits there for a double fault. */
static void the_pics_are_the_firmwares(void **state)
{
	struct guest *guest = start("guest_pics", "");

	(void)state;
	assert_int_equal(wait_end(guest), VM_POWER_OFF);
	assert_string_equal(guest->output, "kmk");
	done(guest);
}

static void messages_arrive(void **state)
{
	const struct irq_message message = { 0xfee00000, VECTOR };
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct guest *guest = start("guest_long", "message");
	const struct irq_platform *irqs = vm_irqs(guest->machine->vm);

	(void)state;
	wait_said(guest, "ready");
	assert_int_equal(irqs->ops->route(irqs->user, fd, NULL), 0); /* none yet: fine */
	assert_int_equal(eventfd_write(fd, 1), 0); /* stays until there is a route */
	assert_int_equal(irqs->ops->route(irqs->user, fd, &message), 0);
	assert_int_equal(irqs->ops->route(irqs->user, fd, &message), 0);
	assert_int_equal(wait_end(guest), VM_DEBUG_EXIT);
	assert_int_equal(guest->value, 0);
	assert_int_equal(irqs->ops->route(irqs->user, fd, NULL), 0);
	done(guest);
}

static void doorbells_do_not_leave_the_kernel(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct guest *guest = new_guest();
	const struct machine_config config = config_of(guest, "guest_long", "doorbell");
	const struct irq_platform *irqs;
	eventfd_t count = 0;

	(void)state;
	make(guest, &config, NULL);
	irqs = vm_irqs(guest->machine->vm);
	assert_int_equal(irqs->ops->doorbell(irqs->user, fd, DOORBELL), 0);
	machine_resume(guest->machine);
	assert_int_equal(wait_end(guest), VM_DEBUG_EXIT);
	assert_int_equal(eventfd_read(fd, &count), 0);
	assert_int_equal(count, 1000);
	assert_int_equal(exits(guest, VM_EXIT_MMIO_WRITE), 0);
	irqs->ops->undo_doorbell(irqs->user, fd, DOORBELL);
	done(guest);
}

static void selecting_registers_does_not_leave_the_kernel(void **state)
{
	_cleanup_close_ int kvm = kvm_open(NULL);
	struct guest *guest = start("guest_long", "selects");

	(void)state;
	assert_int_equal(wait_end(guest), VM_DEBUG_EXIT);
	assert_int_equal(guest->value, 0);
	if (kvm_ioctl_number(kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) > 0)
		assert_true(exits(guest, VM_EXIT_IO_OUT) < 100);
	else
		assert_true(exits(guest, VM_EXIT_IO_OUT) > 2000);
	done(guest);
}

static void the_button_switches_off(void **state)
{
	struct guest *guest = start("guest_long", "button");

	(void)state;
	wait_said(guest, "ready");
	power_button(&guest->machine->power);
	assert_int_equal(wait_end(guest), VM_POWER_OFF);
	done(guest);
}

static void a_reset_begins_again(void **state)
{
	struct guest *guest = start("guest_long", "reset");

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wait_end(guest), VM_RESET);
		machine_pause(guest->machine);
		assert_int_equal(machine_reset(guest->machine, NULL), 0);
		machine_resume(guest->machine);
	}
	assert_int_equal(wait_end(guest), VM_DEBUG_EXIT);
	assert_int_equal(guest->value, 0);
	assert_string_equal(guest->output, "again\nagain\n");
	done(guest);
}

static void processors_are_started(void **state)
{
	static const struct {
		struct cpus cpus;
		const char *cmdline; /* what each of them must see: cores, sockets */
	} cases[] = { { { 4, 1 }, "processors 4 1" },
		      { { 4, 2 }, "processors 2 2" },
		      { { 6, 2 }, "processors 3 2" },
		      { { LAYOUT_CPUS_MAX, 1 }, "processors 32 1" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest *guest = new_guest();
		struct machine_config config = config_of(guest, "guest_long", cases[i].cmdline);

		config.cpus = cases[i].cpus;
		make(guest, &config, NULL);
		machine_resume(guest->machine);
		assert_int_equal(wait_end(guest), VM_DEBUG_EXIT);
		assert_int_equal(guest->value, 0);
		machine_pause(guest->machine); /* also those that sleep for ever */
		done(guest);
	}
}

/* A loop that never leaves and one that leaves all the time: both stand still when told. */
static void any_guest_can_be_paused(void **state)
{
	static const char *const names[] = { "spin", "storm" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct guest *guest = start("guest_long", names[i]);
		uint64_t before;

		wait_said(guest, "ready");
		for (int j = 0; j < 200; j++) {
			machine_pause(guest->machine);
			machine_resume(guest->machine);
		}
		machine_pause(guest->machine);
		machine_pause(guest->machine);
		before = exits(guest, VM_EXIT_IO_IN);
		(void)usleep(20000);
		assert_int_equal(exits(guest, VM_EXIT_IO_IN), before);
		machine_resume(guest->machine);
		assert_int_equal(vm_ended(guest->machine->vm, &guest->value, guest->text,
					  sizeof(guest->text)),
				 VM_RUNS);
		done(guest); /* while it runs */
	}
}

static void a_triple_fault_is_an_end(void **state)
{
	struct guest *guest = start("guest_long", "fault");

	(void)state;
	assert_int_equal(wait_end(guest), VM_TRIPLE_FAULT);
	assert_non_null(strstr(guest->text, "triple fault"));
	done(guest);
}

/* What KVM cannot do ends with the instruction's name, and the probe knows before. */
static void the_probe_tells_what_this_host_can(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	uint64_t from = venv__now_us();
	int r = probe_host(&error);
	uint64_t took = venv__now_us() - from;
	struct guest *guest = start("guest_long", "popcnt");
	enum vm_end end = wait_end(guest);

	(void)state;
	print_message("probe: %s, %llu us\n", r == 0 ? "runs kernels" : venv_error_message(error),
		      (unsigned long long)took);
	if (r == 0) {
		assert_int_equal(end, VM_DEBUG_EXIT);
	} else {
		assert_int_equal(r, VENV_ERR_HOST);
		assert_non_null(strstr(venv_error_message(error), "interprets guest kernels"));
		assert_non_null(venv_error_hint(error));
		assert_int_equal(end, VM_ERROR);
		assert_non_null(strstr(guest->text, "f3 48 0f b8")); /* popcnt */
	}
	done(guest);
}

/* Counts up on its serial port: each digit is the one after the last, over the suspend too. */
static void check_digits(const char *text, size_t length)
{
	for (size_t i = 1; i < length; i++)
		if (text[i] != (text[i - 1] == '9' ? '0' : text[i - 1] + 1))
			fail_msg("after '%.*s' comes '%c'", 10, text + (i > 9 ? i - 10 : 0),
				 text[i]);
}

/* What tells the guest that its random numbers may have been there before. */
static void read_generation(const struct guest *guest, uint8_t ret[VMGENID_SIZE])
{
	const struct mem *mem = &guest->machine->mem;
	const void *at = mem_at(mem, e820_kept_page(mem), VMGENID_SIZE);

	assert_non_null(at);
	memcpy(ret, at, VMGENID_SIZE);
}

static void a_suspended_machine_goes_on(void **state)
{
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	_cleanup_close_ int memory_fd = memfd_create("memory", MFD_CLOEXEC);
	struct guest *first = start("guest_long", "count"), *second = new_guest();
	struct machine_config config = config_of(second, "guest_long", "count");
	uint8_t before[VMGENID_SIZE], after[VMGENID_SIZE];
	struct state_reader reader;
	struct stat st;
	uint64_t from;

	(void)state;
	wait_said(first, "0123456789");
	machine_pause(first->machine);
	read_generation(first, before);
	assert_int_equal(machine_save(first->machine, state_fd, memory_fd, NULL), 0);
	assert_int_equal(fstat(memory_fd, &st), 0);
	assert_int_equal(st.st_size, MEMORY);
	assert_true(st.st_blocks * 512 < MEMORY / 4); /* holes */
	config.memory_fd = memory_fd;
	from = venv__now_us();
	assert_int_equal(state_reader_open(&reader, state_fd, NULL), 0);
	make(second, &config, &reader);
	state_reader_done(&reader);
	read_generation(second, after);
	assert_memory_not_equal(after, before, VMGENID_SIZE);
	memcpy(second->output, &first->output[first->length - 1], 1);
	second->length = 1;
	machine_resume(second->machine);
	print_message("resume: %llu us\n", (unsigned long long)(venv__now_us() - from));
	while (second->total < 100)
		(void)usleep(1000);
	machine_pause(second->machine);
	assert_int_equal(
		vm_ended(second->machine->vm, &second->value, second->text, sizeof(second->text)),
		VM_RUNS);
	check_digits(first->output, first->length);
	check_digits(second->output, second->length);
	done(first);
	done(second);
}

/* As many, but otherwise in their sockets: the guest has seen what CPUID says, which is another one now. */
static void a_state_of_other_processors_is_refused(void **state)
{
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	_cleanup_close_ int memory_fd = memfd_create("memory", MFD_CLOEXEC);
	_cleanup_error_ venv_error *error = NULL;
	struct guest *first = new_guest(), *second = new_guest();
	struct machine_config config = config_of(first, "guest_long", "count");
	struct state_reader reader;

	(void)state;
	config.cpus = (struct cpus){ 2, 1 };
	make(first, &config, NULL);
	machine_resume(first->machine);
	wait_said(first, "0123456789");
	machine_pause(first->machine);
	assert_int_equal(machine_save(first->machine, state_fd, memory_fd, NULL), 0);
	config = config_of(second, "guest_long", "count");
	config.cpus = (struct cpus){ 2, 2 };
	config.memory_fd = memory_fd;
	assert_int_equal(machine_new(second->kvm_fd, &config, &second->machine, NULL), 0);
	assert_int_equal(state_reader_open(&reader, state_fd, NULL), 0);
	assert_int_equal(machine_start(second->machine, &reader, NULL, NULL, &error),
			 VENV_ERR_HOST);
	assert_string_equal(venv_error_message(error),
			    "the machine was suspended on another kind of processor");
	state_reader_done(&reader);
	done(first);
	done(second);
}

/* Every byte of a state may be wrong: an error, never anything else. The guest of it is not run. */
static void damaged_states_are_refused(void **state)
{
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	_cleanup_close_ int memory_fd = memfd_create("memory", MFD_CLOEXEC);
	struct guest *guest = start("guest_long", "count"), *other;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct state_reader reader;
	struct stat st;

	(void)state;
	wait_said(guest, "0123456789");
	machine_pause(guest->machine);
	assert_int_equal(machine_save(guest->machine, state_fd, memory_fd, NULL), 0);
	assert_int_equal(fstat(state_fd, &st), 0);
	bytes = malloc((size_t)st.st_size);
	assert_int_equal(pread(state_fd, bytes, (size_t)st.st_size, 0), st.st_size);
	other = new_guest();
	for (off_t at = 0; at < st.st_size; at += 1 + st.st_size / 40) {
		struct machine_config config = config_of(other, "guest_long", "count");
		_cleanup_error_ venv_error *error = NULL;

		bytes[at] ^= 0x10;
		assert_int_equal(machine_new(other->kvm_fd, &config, &other->machine, NULL), 0);
		if (state_reader_init(&reader, bytes, (size_t)st.st_size, &error) == 0)
			assert_true(machine_start(other->machine, &reader, NULL, NULL, &error) < 0);
		assert_non_null(error);
		bytes[at] ^= 0x10;
		machine_free(other->machine);
		(void)close(other->image_fd);
	}
	other->machine = NULL;
	other->image_fd = -1;
	done(other);
	done(guest);
}

/* Linux's last resort, and with hardware-reduced ACPI its first: real mode, ffff:0000. */
static void a_restart_by_the_bios_finds_one(void **state)
{
	static const uint8_t code[] = { 0xb0, 0xfe, 0xe6, 0x64 };
	struct guest *guest = start("guest_long", "hello");
	const void *at = mem_at(&guest->machine->mem, LAYOUT_RESTART, sizeof(code));

	(void)state;
	assert_non_null(at);
	assert_memory_equal(at, code, sizeof(code));
	assert_int_equal(wait_end(guest), VM_POWER_OFF);
	done(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restart_by_the_bios_finds_one),
		cmocka_unit_test(guests_begin_in_every_mode),
		cmocka_unit_test(the_pics_are_the_firmwares),
		cmocka_unit_test(guests_are_content),
		cmocka_unit_test(messages_arrive),
		cmocka_unit_test(doorbells_do_not_leave_the_kernel),
		cmocka_unit_test(selecting_registers_does_not_leave_the_kernel),
		cmocka_unit_test(the_button_switches_off),
		cmocka_unit_test(a_reset_begins_again),
		cmocka_unit_test(processors_are_started),
		cmocka_unit_test(any_guest_can_be_paused),
		cmocka_unit_test(a_triple_fault_is_an_end),
		cmocka_unit_test(the_probe_tells_what_this_host_can),
		cmocka_unit_test(a_suspended_machine_goes_on),
		cmocka_unit_test(a_state_of_other_processors_is_refused),
		cmocka_unit_test(damaged_states_are_refused),
	};
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = kvm_open(&error);

	if (fd < 0) {
		print_message("SKIPPED: %s\n", venv_error_message(error));
		return 77;
	}
	return cmocka_run_group_tests_name("vmm", tests, NULL, NULL);
}
