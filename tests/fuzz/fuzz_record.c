/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of ours that came back other than we wrote them: a disk that filled up, another version, an editor.
 * The first byte says which: "s" a machine's spec.json, "b" the record of a box, "p" the plan that the keeper
 * gets, "a" what stands in "alive". Nothing of them may bring the command down.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libvenv/box/store.h"
#include "libvenv/cgroup/cgroup.h"
#include "libvenv/spec.h"
#include "providers/container/container.h"
#include "providers/container/keeper/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int directory(void)
{
	static const char path[] = "/dev/shm/venv-fuzz-record";

	(void)mkdir(path, 0700);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int dir, const char *name, const char *text, size_t length)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || venv__write_all(fd, text, length) < 0)
		abort();
}

static void read_spec(const char *text, size_t length)
{
	_cleanup_json_ json_t *json = NULL, *again = NULL;
	struct machine_spec *spec = NULL;

	if (venv__json_parse(text, length, &json, NULL) < 0 ||
	    venv__spec_machine_from_json(json, &spec, NULL) < 0)
		return;
	again = venv__spec_machine_to_json(spec);
	json_decref(venv__cgroup_limits(spec));
	venv__spec_machine_free(spec);
	if (!again)
		abort();
}

static void read_box(int dir, const char *text, size_t length)
{
	static const char hex[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	static char path[] = "/nowhere";
	struct store store = { .path = path, .dir = dir, .records = dir, .layers = dir };
	_cleanup_record_ struct record record = { 0 };
	_cleanup_box_ struct box box = { 0 };
	char name[80];

	(void)snprintf(name, sizeof(name), "%s.json", hex);
	put(dir, name, text, length);
	if (venv__record_read(&store, hex, &record, NULL) == 0)
		(void)venv__record_to_box(&store, &record, "x", "1", &box, NULL);
}

static void read_plan(const char *text, size_t length)
{
	json_t *json = NULL;
	struct plan plan;

	if (venv__json_parse(text, length, &json, NULL) == 0 && plan_parse(json, &plan, NULL) == 0)
		plan_done(&plan);
}

static void read_alive(int dir, const char *text, size_t length)
{
	json_t *record = NULL;

	put(dir, "alive", text, length);
	(void)container_record_state(dir, &record);
	json_decref(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int dir = directory();
	const char *text = (const char *)data + 1;

	if (!size || dir < 0)
		return 0;
	switch (*data) {
	case 's':
		read_spec(text, size - 1);
		break;
	case 'b':
		read_box(dir, text, size - 1);
		break;
	case 'p':
		read_plan(text, size - 1);
		break;
	case 'a':
		read_alive(dir, text, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
