/* SPDX-License-Identifier: Apache-2.0 */
/* The loaders of kernels and firmware: good files end up where they should, bad ones are refused. */
#include "tests/unit/test.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/boot.h"
#include "boot/e820.h"
#include "boot/firmware.h"
#include "machine/layout.h"

enum {
	MEMORY = 64 << 20,
	SETUP_SECTS = 3,
	PAYLOAD_AT = (SETUP_SECTS + 1) * 512,
	PAYLOAD = 64 << 10,
	PREFERRED = 0x1000000,
	INIT_SIZE = 0x200000,

};

struct kernel { /* a bzImage of the smallest kind */
	uint8_t bytes[PAYLOAD_AT + PAYLOAD];
};

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	assert_int_equal(write(fd, data, size), (ssize_t)size);
	return fd;
}

static struct setup_header *header_of(struct kernel *kernel)
{
	return (struct setup_header *)(void *)(kernel->bytes + 0x1f1);
}

static struct kernel *good_kernel(void)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct setup_header *header = header_of(kernel);

	header->setup_sects = SETUP_SECTS;
	header->syssize = PAYLOAD / 16;
	header->boot_flag = 0xaa55;
	header->jump = 0x6aeb;
	header->header = 0x53726448;
	header->version = 0x20f;
	header->loadflags = LOADED_HIGH;
	header->initrd_addr_max = 0x7fffffff;
	header->kernel_alignment = 0x200000;
	header->relocatable_kernel = 1;
	header->xloadflags = XLF_KERNEL_64;
	header->cmdline_size = 2047;
	header->pref_address = PREFERRED;
	header->init_size = INIT_SIZE;
	memset(kernel->bytes + PAYLOAD_AT, 0x5a, PAYLOAD);
	return kernel;
}

static int boot(const void *data, size_t size, uint64_t memory, const char *initrd,
		struct mem *ret_mem, struct boot_entry *ret, venv_error **err)
{
	_cleanup_close_ int fd = file_of(data, size);
	_cleanup_close_ int initrd_fd = initrd ? file_of(initrd, strlen(initrd)) : -1;
	struct boot_source source = { .mem = ret_mem,
				      .kernel_fd = fd,
				      .initrd_fd = initrd_fd,
				      .cmdline = "quiet",
				      .rsdp = LAYOUT_ACPI };

	assert_int_equal(mem_init(ret_mem, memory, -1, 0, NULL), 0);
	return boot_kernel(&source, ret, err);
}

static void a_bzimage_is_loaded(void **state)
{
	_cleanup_free_ struct kernel *kernel = good_kernel();
	struct boot_entry entry = { 0 };
	const struct boot_params *params;
	const uint8_t *at;
	struct mem mem;

	(void)state;
	assert_int_equal(boot(kernel, sizeof(*kernel), MEMORY, "initrd", &mem, &entry, NULL), 0);
	assert_int_equal(entry.mode, BOOT_LONG);
	assert_int_equal(entry.ip, PREFERRED + 0x200);
	at = mem_at(&mem, PREFERRED, PAYLOAD + 1);
	assert_int_equal(at[0], 0x5a);
	assert_int_equal(at[PAYLOAD - 1], 0x5a);
	assert_int_equal(at[PAYLOAD], 0);
	params = mem_at(&mem, entry.argument, sizeof(*params));
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_int_equal(params->acpi_rsdp_addr, LAYOUT_ACPI);
	assert_int_equal(params->hdr.ramdisk_size, 6);
	assert_memory_equal(mem_at(&mem, params->hdr.ramdisk_image, 6), "initrd", 6);
	assert_string_equal(mem_at(&mem, params->hdr.cmd_line_ptr, 6), "quiet");
	assert_int_equal(params->e820_entries, 5);
	mem_done(&mem);
}

static void it_moves_when_it_may(void **state)
{
	_cleanup_free_ struct kernel *kernel = good_kernel();
	struct boot_entry entry = { 0 };
	struct mem mem;

	(void)state;
	assert_int_equal(boot(kernel, sizeof(*kernel), 8 << 20, NULL, &mem, &entry, NULL), 0);
	assert_int_equal(entry.ip, 0x200000 + 0x200);
	mem_done(&mem);
	header_of(kernel)->relocatable_kernel = 0;
	assert_int_equal(boot(kernel, sizeof(*kernel), 8 << 20, NULL, &mem, &entry, NULL),
			 VENV_ERR_INVALID);
	mem_done(&mem);
}

#define FIELD(field, value)                                                                        \
	{                                                                                          \
#field, offsetof(struct setup_header, field),                                      \
			sizeof(((struct setup_header *)NULL)->field), value                        \
	}

static void bad_headers_are_refused(void **state)
{
	static const struct {
		const char *name;
		size_t at, size;
		uint64_t value;
	} cases[] = {
		FIELD(boot_flag, 0),
		FIELD(header, 0),
		FIELD(version, 0x20b),
		FIELD(loadflags, 0),
		FIELD(xloadflags, 0),
		FIELD(setup_sects, 255),
		FIELD(setup_sects, 0),
		FIELD(syssize, 0xffffffff),
		FIELD(syssize, PAYLOAD / 16 + 1),
		FIELD(init_size, 0),
		FIELD(init_size, 0x200),
		FIELD(init_size, 0xffffffff),
		FIELD(kernel_alignment, 0),
		FIELD(kernel_alignment, 0x1001),
		FIELD(kernel_alignment, 0x80000000),
		FIELD(cmdline_size, 4),
		FIELD(initrd_addr_max, 0),
		FIELD(initrd_addr_max, PREFERRED + INIT_SIZE),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ struct kernel *kernel = good_kernel();
		_cleanup_error_ venv_error *error = NULL;
		struct boot_entry entry;
		struct mem mem;

		/* where the loader falls back to another address, that does not fit either */
		if (strcmp(cases[i].name, "kernel_alignment") == 0)
			header_of(kernel)->pref_address = UINT64_MAX;
		memcpy((uint8_t *)header_of(kernel) + cases[i].at, &cases[i].value, cases[i].size);
		if (boot(kernel, sizeof(*kernel), MEMORY, "initrd", &mem, &entry, &error) !=
		    VENV_ERR_INVALID)
			fail_msg("%s = %#llx", cases[i].name, (unsigned long long)cases[i].value);
		assert_non_null(venv_error_hint(error));
		mem_done(&mem);
	}
}

static void what_is_cut_short_is_refused(void **state)
{
	static const size_t sizes[] = {
		1, 3, 4, 0x1f0, 0x201, 0x230, PAYLOAD_AT, PAYLOAD_AT + 1, PAYLOAD_AT + PAYLOAD - 1
	};
	_cleanup_free_ struct kernel *kernel = good_kernel();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct boot_entry entry;
		struct mem mem;

		assert_int_equal(boot(kernel, sizes[i], MEMORY, NULL, &mem, &entry, NULL),
				 VENV_ERR_INVALID);
		mem_done(&mem);
	}
}

static int boot_named(const void *data, size_t size, struct boot_source source, venv_error **err)
{
	_cleanup_close_ int fd = file_of(data, size);
	struct boot_entry entry;
	struct mem mem;
	int r;

	assert_int_equal(mem_init(&mem, MEMORY, -1, 0, NULL), 0);
	source.mem = &mem;
	source.kernel_fd = fd;
	r = boot_kernel(&source, &entry, err);
	mem_done(&mem);
	return r;
}

static void what_is_no_kernel_is_told(void **state)
{
	static const char text[1024] = "box: debian\nprovider: kvm\n", program[] = "\177ELF\2\1\1";
	_cleanup_free_ struct kernel *kernel = good_kernel();
	const struct {
		const void *data;
		size_t size;
		const char *message;
	} cases[] = {
		{ text, 1, "'/k' is no kernel: it is neither a bzImage nor an ELF program" },
		{ text, 30, "'/k' is no kernel" },
		{ text, 0x201, "'/k' is no kernel" },
		{ text, 0x210, "'/k' is no kernel" },
		{ text, sizeof(text), "'/k' is no kernel" },
		{ kernel, 0x205, "'/k' is no kernel" },
		{ kernel, 0x206, "'/k' cannot be booted: the file is cut short" },
		{ kernel, 0x230, "'/k' cannot be booted: the file is cut short" },
		{ kernel, PAYLOAD_AT, "'/k' cannot be booted: the file is cut short" },
		{ program, 3, "'/k' is no kernel" },
		{ program, sizeof(program), "'/k' is cut short" },
		{ text, 0, "'/k' is empty or no file" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct boot_source source = { .initrd_fd = -1,
						    .kernel_name = "kvm.kernel '/k'",
						    .cmdline = "" };
		_cleanup_error_ venv_error *error = NULL;

		assert_int_equal(boot_named(cases[i].data, cases[i].size, source, &error),
				 VENV_ERR_INVALID);
		if (!strstr(venv_error_message(error), cases[i].message))
			fail_msg("%s", venv_error_message(error));
		assert_non_null(venv_error_hint(error));
	}
}

static void a_bad_initrd_is_told(void **state)
{
	_cleanup_free_ struct kernel *kernel = good_kernel();
	_cleanup_close_ int empty = file_of("", 0);
	const struct boot_source source = { .initrd_fd = empty,
					    .initrd_name = "kvm.initrd '/i'",
					    .cmdline = "" };
	_cleanup_error_ venv_error *error = NULL;

	(void)state;
	assert_int_equal(boot_named(kernel, sizeof(*kernel), source, &error), VENV_ERR_INVALID);
	assert_string_equal(venv_error_message(error), "kvm.initrd '/i' is empty or no file");
	assert_non_null(venv_error_hint(error));
}

struct program {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	uint32_t note[8];
	uint8_t code[4096];
};

static struct program good_program(void)
{
	struct program program = {
		.header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			    .e_type = ET_EXEC,
			    .e_machine = EM_X86_64,
			    .e_entry = 0x100010,
			    .e_phoff = offsetof(struct program, segments),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = 2 },
		.segments = { { .p_type = PT_LOAD,
				.p_offset = offsetof(struct program, code),
				.p_paddr = 0x100000,
				.p_filesz = sizeof(program.code),
				.p_memsz = 2 * sizeof(program.code) },
			      { .p_type = PT_NOTE,
				.p_offset = offsetof(struct program, note),
				.p_filesz = sizeof(program.note) } },
		/* first one that is not looked for: name of three bytes, content of one */
		.note = { 3, 1, 7, 0x006e6558, 0, 4, 4, 18 },
	};

	memset(program.code, 0x90, sizeof(program.code));
	return program;
}

static void set_note(struct program *program, uint32_t name_size, uint32_t entry)
{
	const uint32_t note[] = { name_size, 4, 18, 0x006e6558, entry, 0, 0, 0 };

	memcpy(program->note, note, sizeof(note));
}

static void an_elf_is_loaded(void **state)
{
	struct program program = good_program();
	struct boot_entry entry = { 0 };
	struct mem mem;
	uint32_t magic;

	(void)state;
	assert_int_equal(boot(&program, sizeof(program), MEMORY, NULL, &mem, &entry, NULL), 0);
	assert_int_equal(entry.mode, BOOT_LONG);
	assert_int_equal(entry.ip, 0x100010);
	assert_int_equal(entry.argument, LAYOUT_ZERO_PAGE);
	assert_int_equal(*(uint8_t *)mem_at(&mem, 0x100fff, 1), 0x90);
	mem_done(&mem);
	set_note(&program, 4, 0x100020);
	assert_int_equal(boot(&program, sizeof(program), MEMORY, "initrd", &mem, &entry, NULL), 0);
	assert_int_equal(entry.mode, BOOT_PROTECTED);
	assert_int_equal(entry.ip, 0x100020);
	assert_int_equal(mem_read(&mem, entry.argument, &magic, sizeof(magic)), 0);
	assert_int_equal(magic, 0x336ec578);
	mem_done(&mem);
}

/* With the lists of its addresses behind it: moved, and entered in the way that can be told so. */
static void a_linux_that_can_be_moved_is(void **state)
{
	static const uint64_t map = 0xffffffff80000000;
	struct {
		struct program program;
		uint32_t table[4];
	} file = { good_program(), { 0, (uint32_t)map + 0x100020, 0, (uint32_t)map + 0x100030 } };
	static const struct {
		uint64_t offset;
		uint16_t count, size;
		bool moved;
	} sections[] = {
		{ sizeof(struct program) - 64, 1, 64, true },
		{ sizeof(struct program) - 63, 1, 64, false },
		{ sizeof(struct program), 2, 8, false },
		{ sizeof(struct program), 2, 4, false },
		{ 0, 0, 64, true },
		/* more than there is: counts for nothing */
		{ sizeof(struct program), 3, 64, true },
		{ UINT64_MAX, 1, 1, true },
		{ UINT64_MAX - 63, 1, 64, true },
		{ 0, 65535, 65535, true },
	};
	struct boot_entry entry = { 0 };
	const struct boot_params *params;
	struct mem mem;

	(void)state;
	set_note(&file.program, 4, 0x100020);
	file.program.segments[0].p_vaddr = map + file.program.segments[0].p_paddr;
	for (int i = 0; i < 2; i++) {
		const size_t size = i ? sizeof(file) : sizeof(file.program);

		assert_int_equal(boot(&file, size, MEMORY, NULL, &mem, &entry, NULL), 0);
		assert_int_equal(entry.mode, i ? BOOT_LONG : BOOT_PROTECTED);
		if (i) {
			params = mem_at(&mem, entry.argument, sizeof(*params));
			assert_int_equal(entry.ip, 0x100010);
			assert_int_equal(params->hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
			assert_int_equal(params->hdr.header, 0x53726448);
			assert_true(params->hdr.version >= 0x20c);
		}
		mem_done(&mem);
	}
	/* a table begins where all that the headers tell of ends */
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		file.program.header.e_shoff = sections[i].offset;
		file.program.header.e_shnum = sections[i].count;
		file.program.header.e_shentsize = sections[i].size;
		assert_int_equal(boot(&file, sizeof(file), MEMORY, NULL, &mem, &entry, NULL), 0);
		assert_int_equal(entry.mode, sections[i].moved ? BOOT_LONG : BOOT_PROTECTED);
		mem_done(&mem);
	}
	file.program.header.e_shoff = 0;
	assert_int_equal(boot(&file, sizeof(file) - 2, MEMORY, NULL, &mem, &entry, NULL), 0);
	assert_int_equal(entry.mode, BOOT_PROTECTED);
	mem_done(&mem);
	file.table[3] = 0x1000;
	assert_int_equal(boot(&file, sizeof(file), MEMORY, NULL, &mem, &entry, NULL),
			 VENV_ERR_INVALID);
	mem_done(&mem);
}

static void bad_programs_are_refused(void **state)
{
	static const struct {
		const char *name;
		size_t at, size;
		uint64_t value;
	} cases[] = {
#define AT(what) #what, offsetof(struct program, what), sizeof(((struct program *)NULL)->what)
		{ AT(header.e_ident[4]), ELFCLASS32 },
		{ AT(header.e_ident[5]), ELFDATA2MSB },
		{ AT(header.e_machine), EM_AARCH64 },
		{ AT(header.e_phentsize), 0 },
		{ AT(header.e_phnum), 0 },
		{ AT(header.e_phnum), 65 },
		{ AT(header.e_phoff), UINT64_MAX },
		{ AT(header.e_phoff), sizeof(struct program) - 1 },
		{ AT(header.e_entry), 0 },
		{ AT(header.e_entry), 0x102000 },
		{ AT(segments[0].p_offset), UINT64_MAX },
		{ AT(segments[0].p_filesz), UINT64_MAX },
		{ AT(segments[0].p_filesz), 2 * 4096 + 1 },
		{ AT(segments[0].p_memsz), 1 },
		{ AT(segments[0].p_memsz), 0 },
		{ AT(segments[0].p_memsz), UINT64_MAX },
		{ AT(segments[0].p_paddr), 0 },
		{ AT(segments[0].p_paddr), LAYOUT_PAGE_TABLES },
		{ AT(segments[0].p_paddr), UINT64_MAX - 4096 },
		{ AT(segments[0].p_paddr), MEMORY - 4096 },
		{ AT(segments[0].p_type), PT_NULL },
		{ AT(segments[1].p_offset), sizeof(struct program) },
#undef AT
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct program program = good_program();
		_cleanup_error_ venv_error *error = NULL;
		struct boot_entry entry;
		struct mem mem;

		memcpy((uint8_t *)&program + cases[i].at, &cases[i].value, cases[i].size);
		if (boot(&program, sizeof(program), MEMORY, NULL, &mem, &entry, &error) !=
		    VENV_ERR_INVALID)
			fail_msg("%s = %#llx", cases[i].name, (unsigned long long)cases[i].value);
		assert_non_null(venv_error_hint(error));
		mem_done(&mem);
	}
}

/* Notes that lie about their lengths are no notes. */
static void bad_notes_are_none(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 5, 1000, UINT32_MAX, UINT32_MAX - 3 };
	struct boot_entry entry = { 0 };
	struct mem mem;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct program program = good_program();

		set_note(&program, sizes[i], 0x100020);
		assert_int_equal(boot(&program, sizeof(program), MEMORY, NULL, &mem, &entry, NULL),
				 0);
		assert_int_equal(entry.mode, BOOT_LONG);
		mem_done(&mem);
	}
}

static void initrds_must_fit(void **state)
{
	_cleanup_free_ struct kernel *kernel = good_kernel();
	_cleanup_free_ char *initrd = malloc(MEMORY);
	_cleanup_error_ venv_error *error = NULL;
	struct boot_entry entry;
	struct mem mem;

	(void)state;
	memset(initrd, 'x', MEMORY - 1);
	initrd[MEMORY - 1] = '\0';
	assert_int_equal(boot(kernel, sizeof(*kernel), MEMORY, initrd, &mem, &entry, &error),
			 VENV_ERR_INVALID);
	assert_non_null(strstr(venv_error_message(error), "does not fit"));
	mem_done(&mem);
}

static void maps_have_no_holes_where_ram_is(void **state)
{
	static const uint64_t sizes[] = { MEM_ALIGN, MEMORY, MEM_HOLE, MEM_HOLE + MEM_ALIGN };

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct e820_entry entries[E820_MAX];
		uint64_t usable = 0, end = 0;
		struct mem mem;
		size_t n;

		assert_int_equal(mem_init(&mem, sizes[i / 2], -1, 0, NULL), 0);
		n = e820_make(&mem, i % 2, entries);
		assert_true(n <= E820_MAX);
		for (size_t j = 0; j < n; j++) {
			assert_true(entries[j].size > 0 && entries[j].address >= end);
			end = entries[j].address + entries[j].size;
			if (entries[j].type != E820_USABLE)
				continue;
			assert_non_null(mem_at(&mem, entries[j].address, entries[j].size));
			usable += entries[j].size;
		}
		assert_int_equal(usable, sizes[i / 2] - LAYOUT_RESERVED_SIZE -
						 (i % 2 ? 0 : LAYOUT_KERNEL - LAYOUT_LOW_END));
		assert_int_equal(e820_kept_page(&mem),
				 MIN(sizes[i / 2], MEM_HOLE) - LAYOUT_RESERVED_SIZE);
		mem_done(&mem);
	}
}

static void firmware_is_put_below_1_mib(void **state)
{
	static const size_t bad[] = { 512, 65535, 196608, 524288 };
	_cleanup_free_ uint8_t *image = malloc(524288);
	struct firmware firmware;
	struct boot_entry entry;
	struct mem mem;

	(void)state;
	memset(image, 0xea, 524288);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_close_ int fd = file_of(image, bad[i]);
		_cleanup_error_ venv_error *error = NULL;

		assert_int_equal(firmware_init(&firmware, fd, "kvm.firmware '/f'", &error),
				 VENV_ERR_INVALID);
		assert_non_null(strstr(venv_error_message(error),
				       "kvm.firmware '/f' is no firmware for PCs"));
		assert_non_null(venv_error_hint(error));
	}
	for (size_t size = 65536; size <= 262144; size *= 2) {
		_cleanup_close_ int fd = file_of(image, size);

		assert_int_equal(mem_init(&mem, MEM_ALIGN, -1, 0, NULL), 0);
		assert_int_equal(firmware_init(&firmware, fd, NULL, NULL), 0);
		assert_int_equal(firmware_boot(&firmware, &mem, &entry, NULL), 0);
		assert_int_equal(entry.mode, BOOT_RESET);
		assert_int_equal(*(uint8_t *)mem_at(&mem, 0xffff0, 1), 0xea);
		assert_int_equal(*(uint8_t *)mem_at(&mem, 0x100000 - size - 1, 1), 0);
		firmware_done(&firmware);
		mem_done(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bzimage_is_loaded),
		cmocka_unit_test(it_moves_when_it_may),
		cmocka_unit_test(bad_headers_are_refused),
		cmocka_unit_test(what_is_cut_short_is_refused),
		cmocka_unit_test(what_is_no_kernel_is_told),
		cmocka_unit_test(a_bad_initrd_is_told),
		cmocka_unit_test(an_elf_is_loaded),
		cmocka_unit_test(a_linux_that_can_be_moved_is),
		cmocka_unit_test(bad_programs_are_refused),
		cmocka_unit_test(bad_notes_are_none),
		cmocka_unit_test(initrds_must_fit),
		cmocka_unit_test(maps_have_no_holes_where_ram_is),
		cmocka_unit_test(firmware_is_put_below_1_mib),
	};

	return cmocka_run_group_tests_name("vmm_boot", tests, NULL, NULL);
}
