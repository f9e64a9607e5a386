/* SPDX-License-Identifier: Apache-2.0 */
/* The distribution's SeaBIOS starts tests/guest/mbr.S from a disk, twice: a restart of the machine lies between. */
#include "vmm_world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>

/* It clears memory byte by byte: a few seconds on a host that interprets, many when that is busy too. */
enum { SECTOR = 512, DISK_SIZE = 1 << 20, FIRMWARE_PATIENCE_MS = 240000 };

static const char firmware[] = "/usr/share/seabios/bios-microvm.bin";

/* A raw disk that begins with the guest. */
static int make_disk(struct world *world)
{
	_cleanup_close_ int mbr = world_open("VENV_GUESTS", "guest_mbr", O_RDONLY);
	int disk = world_make_file(world, "disk", DISK_SIZE);

	assert_int_equal(sendfile(disk, mbr, NULL, 2 * SECTOR), SECTOR);
	return disk;
}

/* Two disks, of which the first one is empty: firmware must be told which one it is to start. */
static json_t *machine_json(void)
{
	static const char devices[] = "[{\"kind\":\"blk\",\"slot\":1,\"images\":["
				      "{\"file\":2,\"format\":\"raw\",\"name\":\"empty\"}]},"
				      "{\"kind\":\"blk\",\"slot\":2,\"images\":["
				      "{\"file\":3,\"format\":\"raw\",\"name\":\"disk\"}]}]";

	return json_pack("{s:s, s:i, s:i, s:i, s:s, s:o}", "name", "test", "memory", MEMORY, "cpus",
			 1, "firmware", 1, "boot_order", "/pci@i0cf8/*@2", "devices",
			 json_loads(devices, 0, NULL));
}

static void assert_marked(struct world *world)
{
	_cleanup_close_ int disk = world_reopen(world, "disk");
	char sector[SECTOR];

	assert_int_equal(pread(disk, sector, sizeof(sector), SECTOR), sizeof(sector));
	assert_memory_equal(sector, "mark", 4);
}

static void seabios_starts_a_disk_and_again(void **state)
{
	static const char *const said[] = { "SeaBIOS (version", "first boot\n",
					    "venv: the guest restarted the machine\n",
					    "SeaBIOS (version", "second boot\n" };
	struct world *world = *state;
	_cleanup_free_ char *log = NULL;
	_cleanup_error_ venv_error *error = NULL;
	int fd[] = { open(firmware, O_RDONLY | O_CLOEXEC),
		     world_make_file(world, "empty", DISK_SIZE), make_disk(world) };
	const char *at;

	world->patience_ms = FIRMWARE_PATIENCE_MS;
	if (world_send(world, machine_json(), fd, ARRAY_SIZE(fd), NULL, &error) < 0)
		fail_msg("%s", venv_error_message(error));
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		(void)close(fd[i]);
	world_wait_end(world);
	at = log = world_log(world);
	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		at = strstr(at, said[i]);
		if (!at)
			fail_msg("no '%s' where it should be in '%s'", said[i], log);
		at += strlen(said[i]);
	}
	world_assert_record(world, "\"stopped\"");
	assert_marked(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(seabios_starts_a_disk_and_again, world_setup,
						world_teardown),
	};

	if (world_skips())
		return 77;
	if (access(firmware, R_OK) < 0) {
		print_message("SKIPPED: there is no %s: install 'seabios'\n", firmware);
		return 77;
	}
	return cmocka_run_group_tests_name("vmm_firmware", tests, NULL, NULL);
}
