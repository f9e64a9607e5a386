/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host run virtual machines? The answer takes a guest, which is venv-vmm's business ("venv-vmm
 * probe"), and holds for long, so it is kept in <data>/kvm-probe.json with what it depends on. That this
 * user may not open /dev/kvm, or that there is none, is looked at each time: it is mended by a command.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup.h"
#include "kvm.h"
#include "util/msg.h"
#include "util/process.h"
#include "util/sys.h"

enum { ANSWER_MS = 10000, ANSWER_MAX = 16384, RECORD_VERSION = 1 };

static const char record_name[] = "kvm-probe.json", program[] = "venv-vmm";

/* ---- Asking venv-vmm ----------------------------------------------------------------------- */

static int spawn_probe(const char *path, int *ret_fd, int *ret_pidfd, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	char name[] = "venv-vmm", what[] = "probe";
	char *argv[] = { name, what, NULL };
	struct spawn spawn = { .path = path, .program_fd = -1, .argv = argv, .n_fds = 3 };
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return venv__fail_errno(err, errno, "cannot make a pipe");
	ours = fds[0];
	theirs = fds[1];
	spawn.fds[0] = spawn.fds[2] = -1;
	spawn.fds[1] = theirs;
	r = venv__spawn(&spawn, NULL, ret_pidfd, err);
	if (r == 0)
		*ret_fd = take_fd(&ours);
	return r;
}

/* All that it says until it closes its output. 0, or -errno */
static int read_answer(int fd, struct buf *answer)
{
	uint64_t end = venv__now_us() + ANSWER_MS * 1000ULL, now;

	while ((now = venv__now_us()) < end && answer->length < ANSWER_MAX) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		char chunk[1024];
		ssize_t n;

		n = poll(&wait, 1, (int)((end - now) / 1000) + 1);
		if (n > 0)
			n = read(fd, chunk, sizeof(chunk));
		else if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			venv__buf_add(answer, chunk, (size_t)n);
	}
	return -ETIMEDOUT;
}

static int ask(const char *path, json_t **ret, venv_error **err)
{
	_cleanup_close_ int fd = -1, pidfd = -1;
	_cleanup_buf_ struct buf answer = { 0 };
	int r = spawn_probe(path, &fd, &pidfd, err);

	if (r < 0)
		return r;
	r = read_answer(fd, &answer);
	if (r < 0) {
		(void)venv__pidfd_signal(pidfd, SIGKILL);
		return venv__fail(err, VENV_ERR_HOST,
				  "venv-vmm could not find out whether this host runs virtual "
				  "machines: %s",
				  strerror(-r));
	}
	if (!answer.data || venv__json_parse(answer.data, answer.length, ret, NULL) < 0)
		return venv__fail(err, VENV_ERR_HOST,
				  "venv-vmm does not say whether this host runs virtual machines");
	return 0;
}

/* ---- Keeping the answer -------------------------------------------------------------------- */

static json_t *stamp(const struct stat *st)
{
	return json_pack("[I, I, I, I]", (json_int_t)st->st_dev, (json_int_t)st->st_ino,
			 (json_int_t)st->st_ctim.tv_sec, (json_int_t)st->st_ctim.tv_nsec);
}

/* What the answer depends on. NULL: it must not be kept. */
static json_t *conditions(const char *path)
{
	_cleanup_close_ int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct stat device_stat, program_stat;
	char boot[37];

	if (device < 0 || fstat(device, &device_stat) < 0 || stat(path, &program_stat) < 0 ||
	    venv__boot_id(boot) < 0)
		return NULL;
	return json_pack("{s:i, s:s, s:o, s:o}", "version", RECORD_VERSION, "boot_id", boot,
			 "device", stamp(&device_stat), "program", stamp(&program_stat));
}

static json_t *remembered(struct venv *ctx, const json_t *now)
{
	_cleanup_json_ json_t *record = NULL;
	int data = venv__context_data(ctx, NULL);

	if (data < 0 || !now || venv__json_read(data, record_name, &record, NULL) < 0 ||
	    !json_equal(json_object_get(record, "conditions"), now))
		return NULL;
	return json_incref(json_object_get(record, "answer"));
}

/* A host that cannot, cannot until it changes; anything else that went wrong may pass. */
static bool is_lasting(const json_t *answer)
{
	return venv__json_bool(answer, "ok", false) ||
	       venv__error_from_json(answer, NULL) == VENV_ERR_HOST;
}

static void remember(struct venv *ctx, json_t *now, json_t *answer)
{
	_cleanup_json_ json_t *record = NULL;
	int data = venv__context_data(ctx, NULL);

	if (data < 0 || !now || !is_lasting(answer))
		return;
	record = json_pack("{s:O, s:O}", "conditions", now, "answer", answer);
	if (record)
		(void)venv__json_write(data, record_name, record, WRITE_VOLATILE, NULL);
}

int kvm_host_check(struct venv *ctx, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(ctx, program);
	_cleanup_json_ json_t *now = NULL, *answer = NULL;
	int r;

	if (!path)
		return venv__fail_nomem(err);
	if (access(path, X_OK) < 0)
		return venv__hint(venv__fail(err, VENV_ERR_HOST, "venv-vmm is missing"), err,
				  "install venv completely");
	now = conditions(path);
	answer = remembered(ctx, now);
	if (!answer) {
		r = ask(path, &answer, err);
		if (r < 0)
			return r;
		remember(ctx, now, answer);
	}
	r = venv__error_from_json(answer, err);
	if (r == 0 && !venv__json_bool(answer, "ok", false))
		r = venv__fail(err, VENV_ERR_HOST, "venv-vmm cannot look at this host");
	return r;
}

/* ---- The slot ------------------------------------------------------------------------------ */

/* What the file wants and a virtual machine cannot have. NULL: nothing */
static const char *refused(const struct machine_spec *spec, const char **ret_hint,
			   const struct place **ret_place)
{
	const struct {
		bool wanted;
		const char *reason, *hint;
		const struct place *place;
	} cases[] = {
		{ spec->pids != 0, "it cannot limit a machine's processes ('pids')",
		  "remove 'pids'", &spec->place },
		{ spec->oom == OOM_FREEZE, "a machine that lacks memory decides itself ('oom')",
		  "remove 'oom'", &spec->place },
		{ spec->profile == PROFILE_APP, "it has no profiles ('profile')",
		  "remove 'profile'", &spec->place },
		{ kvm_cpus(spec) > KVM_CPUS_MAX, KVM_TOO_MANY_CPUS, KVM_FEWER_CPUS,
		  &spec->cpus_place },
		{ kvm_cpus(spec) % MAX(spec->kvm.sockets, 1U) != 0,
		  "its processors cannot be shared out evenly over its sockets ('kvm.sockets')",
		  "set 'cpus' to a multiple of 'kvm.sockets'", &spec->place },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].wanted) {
			*ret_hint = cases[i].hint;
			*ret_place = cases[i].place;
			return cases[i].reason;
		}
	return NULL;
}

/* Of limits that this host does not give to us. */
static int warn(const struct machine_spec *spec, char ***ret)
{
	_cleanup_json_ json_t *limits = kvm_limits(spec);
	struct cgroup_host host;
	int r;

	if (!limits)
		return -ENOMEM;
	venv__cgroup_host_find(&host);
	r = venv__cgroup_host_warnings(&host, limits, ret);
	venv__cgroup_host_done(&host);
	return r;
}

int kvm_probe(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
	      venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	const struct place *place = NULL;
	const char *hint = NULL, *reason = refused(spec, &hint, &place);

	*ret = (struct verdict){ .accept = true, .place = place };
	if (!reason) {
		if (kvm_host_check(ctx, &problem) == 0)
			return warn(spec, &ret->warnings) < 0 ? venv__fail_nomem(err) : 0;
		reason = venv_error_message(problem);
		hint = venv_error_hint(problem);
	}
	ret->accept = false;
	ret->reason = strdup(reason);
	ret->hint = hint ? strdup(hint) : NULL;
	return ret->reason ? 0 : venv__fail_nomem(err);
}
