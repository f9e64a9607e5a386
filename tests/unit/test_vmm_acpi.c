/* SPDX-License-Identifier: Apache-2.0 */
/* Our tables, judged by ACPICA's compiler: iasl takes each apart and compiles it again without a word. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "acpi/aml.h"
#include "acpi/loader.h"
#include "acpi/tables.h"
#include "machine/layout.h"
#include "util/file.h"
#include "util/process.h"

static const struct acpi_config direct = {
	.cpus = { 4, 1 }, .window = 0xc0000000, .window_end = 0xe8000000, .generation = 0x7fff000
};
static const struct acpi_config firmware = { .cpus = { 30, 10 },
					     .window = 0x08000000,
					     .window_end = 0xfec00000,
					     .firmware = true,
					     .generation = 0xbffff000 };

static struct mem memory(void)
{
	struct mem mem;

	assert_int_equal(mem_init(&mem, MEM_ALIGN, -1, 0, NULL), 0);
	return mem;
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t total = 0;

	while (size--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

typedef void (*table_fn)(const uint8_t *table, uint32_t length, void *user);

static const uint8_t *table_at(const struct mem *mem, uint64_t address)
{
	const uint8_t *table = mem_at(mem, address, 36);

	assert_non_null(table);
	assert_non_null(mem_at(mem, address, get_u32(table + 4)));
	assert_int_equal(sum(table, get_u32(table + 4)), 0);
	return table;
}

/* Walk as a guest does: from the RSDP over the XSDT, and from the FADT to the DSDT. */
static unsigned each_table(const struct mem *mem, table_fn fn, void *user)
{
	const uint8_t *rsdp = mem_at(mem, LAYOUT_ACPI, ACPI_RSDP_SIZE), *xsdt, *rsdt;
	unsigned n = 0;

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, ACPI_RSDP_SIZE), 0);
	xsdt = table_at(mem, get_u64(rsdp + 24));
	rsdt = table_at(mem, get_u32(rsdp + 16));
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_memory_equal(rsdt, "RSDT", 4);
	for (uint32_t at = 36; at < get_u32(xsdt + 4); at += 8, n++) {
		const uint8_t *table = table_at(mem, get_u64(xsdt + at)), *dsdt;

		assert_int_equal(get_u64(xsdt + at), get_u32(rsdt + 36 + 4 * n));
		fn(table, get_u32(table + 4), user);
		if (memcmp(table, "FACP", 4) == 0) {
			dsdt = table_at(mem, get_u64(table + 140));
			assert_int_equal(get_u32(table + 40), get_u64(table + 140));
			fn(dsdt, get_u32(dsdt + 4), user);
		}
	}
	return n;
}

static void count(const uint8_t *table, uint32_t length, void *user)
{
	unsigned *n = user;

	(void)table;
	(void)length;
	++*n;
}

static void a_guest_finds_the_tables(void **state)
{
	static const struct {
		const struct acpi_config *config;
		unsigned tables;
	} cases[] = { { &direct, 3 }, { &firmware, 2 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem mem = memory();
		struct acpi_tables acpi;
		unsigned n = 0;

		assert_int_equal(acpi_tables_init(&acpi, cases[i].config), 0);
		assert_int_equal(acpi_place(&acpi, &mem, LAYOUT_ACPI, 128), -ENOSPC);
		assert_int_equal(acpi_place(&acpi, &mem, LAYOUT_ACPI, LAYOUT_ACPI_SIZE), 0);
		assert_int_equal(each_table(&mem, count, &n), cases[i].tables);
		assert_int_equal(n, cases[i].tables + 1);
		acpi_tables_done(&acpi);
		mem_done(&mem);
	}
}

/* Do what SeaBIOS does with the script; the outcome is what acpi_place() makes. */
static void run_script(const struct buf *script, uint8_t *rsdp, uint8_t *tables, uint64_t base)
{
	for (size_t at = 0; at < script->length; at += 128) {
		const uint8_t *entry = (const uint8_t *)script->data + at;
		uint8_t *file =
			strcmp((const char *)entry + 4, ACPI_RSDP_FILE) == 0 ? rsdp : tables;
		uint64_t value = 0;

		switch (get_u32(entry)) {
		case 1:
			assert_true(at < 256);
			break;
		case 2:
			assert_string_equal((const char *)entry + 60, ACPI_TABLES_FILE);
			memcpy(&value, file + get_u32(entry + 116), entry[120]);
			value += base;
			memcpy(file + get_u32(entry + 116), &value, entry[120]);
			break;
		case 3:
			file[get_u32(entry + 60)] =
				(uint8_t)(file[get_u32(entry + 60)] -
					  sum(file + get_u32(entry + 64), get_u32(entry + 68)));
			break;
		default:
			fail();
		}
	}
}

static void the_script_does_the_same(void **state)
{
	struct mem mem = memory();
	struct acpi_tables acpi;
	struct buf script = { 0 };
	uint8_t rsdp[ACPI_RSDP_SIZE], *tables;

	(void)state;
	assert_int_equal(acpi_tables_init(&acpi, &firmware), 0);
	assert_int_equal(acpi_loader(&acpi, &script), 0);
	assert_int_equal(script.length % 128, 0);
	tables = malloc(acpi.tables.length);
	assert_non_null(tables);
	memcpy(rsdp, acpi.rsdp, sizeof(rsdp));
	memcpy(tables, acpi.tables.data, acpi.tables.length);
	run_script(&script, rsdp, tables, LAYOUT_ACPI + 64);
	assert_int_equal(acpi_place(&acpi, &mem, LAYOUT_ACPI, LAYOUT_ACPI_SIZE), 0);
	assert_memory_equal(mem_at(&mem, LAYOUT_ACPI, sizeof(rsdp)), rsdp, sizeof(rsdp));
	assert_memory_equal(mem_at(&mem, LAYOUT_ACPI + 64, acpi.tables.length), tables,
			    acpi.tables.length);
	free(tables);
	venv__buf_done(&script);
	acpi_tables_done(&acpi);
	mem_done(&mem);
}

/* The encodings that our own tables do not reach. */
static void lengths_and_integers_are_encoded(void **state)
{
	static const struct {
		uint64_t value;
		const char *bytes;
		size_t size;
	} integers[] = {
		{ 0, "\x00", 1 },
		{ 1, "\x01", 1 },
		{ 0xff, "\x0a\xff", 2 },
		{ 0x100, "\x0b\x00\x01", 3 },
		{ 0x10000, "\x0c\x00\x00\x01\x00", 5 },
		{ 0x100000000ULL, "\x0e\x00\x00\x00\x00\x01\x00\x00\x00", 9 },
	};
	static const struct {
		size_t content;
		const char *head;
		size_t size;
	} lengths[] = {
		{ 58, "\x10\x3f", 2 },           /* 63 in one byte: the name, and itself */
		{ 59, "\x10\x41\x04", 3 },       /* 65 in two */
		{ 4089, "\x10\x4f\xff", 3 },     /* 4095 */
		{ 4090, "\x10\x81\x00\x01", 4 }, /* 4097 in three */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(integers); i++) {
		struct aml aml = { 0 };

		aml_integer(&aml, integers[i].value);
		assert_int_equal(aml.bytes.length, integers[i].size);
		assert_memory_equal(aml.bytes.data, integers[i].bytes, integers[i].size);
		venv__buf_done(&aml.bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct aml aml = { 0 };

		aml_scope(&aml, "TEST");
		for (size_t j = 0; j < lengths[i].content; j++)
			aml_integer(&aml, 1);
		aml_end(&aml);
		assert_int_equal(aml.bytes.length, lengths[i].size + 4 + lengths[i].content);
		assert_memory_equal(aml.bytes.data, lengths[i].head, lengths[i].size);
		assert_memory_equal(aml.bytes.data + lengths[i].size, "TEST", 4);
		venv__buf_done(&aml.bytes);
	}
}

struct judge {
	char directory[64];
	int dir_fd;
};

static void run_iasl(char *const *argv, const char *verdict)
{
	_cleanup_free_ char *output = NULL;
	int r = venv__run(argv, &output, NULL);

	if (r != 0 || !output || !strstr(output, verdict) ||
	    (strcmp(argv[1], "-d") == 0 && (strstr(output, "Warning") || strstr(output, "Error"))))
		fail_msg("iasl %s: %d\n%s", argv[1], r, output ? output : "");
}

static void judge_table(const uint8_t *table, uint32_t length, void *user)
{
	const struct judge *judge = user;
	_cleanup_free_ char *aml = NULL, *dsl = NULL, *again = NULL;
	_cleanup_free_ char *compiled = NULL;
	char name[16];
	size_t size;

	(void)snprintf(name, sizeof(name), "%.4s.aml", (const char *)table);
	assert_int_equal(
		venv__file_write(judge->dir_fd, name, table, length, 0600, WRITE_VOLATILE, NULL),
		0);
	assert_true(asprintf(&aml, "%s/%s", judge->directory, name) > 0);
	assert_true(asprintf(&dsl, "%s/%.4s.dsl", judge->directory, (const char *)table) > 0);
	assert_true(asprintf(&again, "%s/again", judge->directory) > 0);
	run_iasl((char *[]){ (char[]){ "iasl" }, (char[]){ "-d" }, aml, NULL }, ".dsl - ");
	run_iasl((char *[]){ (char[]){ "iasl" }, (char[]){ "-we" }, (char[]){ "-p" }, again, dsl,
			     NULL },
		 "0 Errors, 0 Warnings, 0 Remarks");
	/* what the compiler makes of it is what we had made, but for the compiler's name */
	assert_int_equal(venv__file_read(judge->dir_fd, "again.aml", 65536, &compiled, &size, NULL),
			 0);
	assert_int_equal(size, length);
	assert_memory_equal(compiled + 36, table + 36, length - 36);
}

static void iasl_has_nothing_to_say(void **state)
{
	const struct acpi_config *const configs[] = { &direct, &firmware };
	struct judge judge = { "/tmp/venv-acpi-XXXXXX", -1 };

	(void)state;
	if (venv__run((char *[]){ (char[]){ "iasl" }, (char[]){ "-v" }, NULL }, NULL, NULL) != 0) {
		print_message("SKIPPED: iasl is missing (scripts/deps --test installs it)\n");
		skip();
	}
	assert_non_null(mkdtemp(judge.directory));
	judge.dir_fd = open(judge.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		struct mem mem = memory();
		struct acpi_tables acpi;

		assert_int_equal(acpi_tables_init(&acpi, configs[i]), 0);
		assert_int_equal(acpi_place(&acpi, &mem, LAYOUT_ACPI, LAYOUT_ACPI_SIZE), 0);
		(void)each_table(&mem, judge_table, &judge);
		acpi_tables_done(&acpi);
		mem_done(&mem);
	}
	(void)close(judge.dir_fd);
	assert_int_equal(venv__tree_delete(AT_FDCWD, judge.directory, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_finds_the_tables),
		cmocka_unit_test(the_script_does_the_same),
		cmocka_unit_test(lengths_and_integers_are_encoded),
		cmocka_unit_test(iasl_has_nothing_to_say),
	};

	return cmocka_run_group_tests_name("vmm_acpi", tests, NULL, NULL);
}
