/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until a machine that is reached by ssh alone lets us in.
 *
 * Theory of operation: a start ends when the machine runs; what comes up in it is its own. So its sshd is
 * tried, quickly at first, until it lets us in with the pinned keys, or until there is a reason to give up:
 * the machine ended, its console shows that nothing will come (a panic, a shell that waits for somebody), it
 * refuses us for long, or boot_timeout is over. A refusal alone is no reason: sshd may be up before the keys
 * are in. That it let us in is remembered until the next start.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "alive.h"
#include "first_contact.h"
#include "net/net.h"
#include "remote.h"
#include "util/sys.h"

enum {
	FIRST_PAUSE_MS = 20,
	LAST_PAUSE_MS = 500,
	DENIED_MS = 30000,
	CONSOLE_LINES = 10,
	CONSOLE_MAX = 65536
};

struct contact {
	struct work *work;
	uint64_t begin, end, denied_since; /* us; 0: not denied */
	venv_error *last;                  /* why it did not answer */
};

/* ---- What the console tells ---------------------------------------------------------------- */

static const struct {
	const char *text, *meaning;
} dead_ends[] = {
	{ "Kernel panic - not syncing", "its kernel panicked" },
	{ "You are in emergency mode", "it waits in an emergency shell" },
	{ "Entering emergency mode", "it waits in an emergency shell" },
	{ "You are in rescue mode", "it waits in a rescue shell" },
	{ "(initramfs) ", "it waits in the shell of its initramfs: no root file system was found" },
	{ "dracut:/# ", "it waits in the shell of its initramfs: no root file system was found" },
	{ "grub rescue>", "its boot loader found no system" },
	{ "No bootable device", "its firmware found nothing to boot" },
};

/* Why it came to one of them, when the console has said it before; a kernel may get over that. */
static const char unpacking_failed[] = "Initramfs unpacking failed";

static int open_console(const struct work *work)
{
	return openat(work->record.dir_fd, "console.log",
		      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

void venv__console_mark(struct work *work)
{
	_cleanup_close_ int fd = open_console(work);
	struct stat st;

	(void)json_object_set_new(
		work->record.state, "console",
		json_integer(fd >= 0 && fstat(fd, &st) == 0 ? (json_int_t)st.st_size : 0));
}

/* Its last part, from this start on. Bytes, or 0 */
static size_t read_console(const struct work *work, char *text, size_t size)
{
	_cleanup_close_ int fd = open_console(work);
	off_t from = (off_t)venv__json_int(work->record.state, "console", 0);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	if (from > st.st_size) /* a new file was begun meanwhile */
		from = 0;
	if (st.st_size - from > (off_t)size)
		from = st.st_size - (off_t)size;
	n = pread(fd, text, size, from);
	return n > 0 ? (size_t)n : 0;
}

struct dead_end {
	const char *meaning; /* NULL: nothing bad */
	bool initrd;         /* is the cause of it */
};

static struct dead_end find_dead_end(const struct work *work)
{
	_cleanup_free_ char *text = malloc(CONSOLE_MAX);
	size_t length = text ? read_console(work, text, CONSOLE_MAX) : 0;

	for (size_t i = 0; length && i < ARRAY_SIZE(dead_ends); i++)
		if (memmem(text, length, dead_ends[i].text, strlen(dead_ends[i].text)))
			return (struct dead_end){ dead_ends[i].meaning,
						  memmem(text, length, unpacking_failed,
							 sizeof(unpacking_failed) - 1) };
	return (struct dead_end){ 0 };
}

/* ---- Giving up ----------------------------------------------------------------------------- */

static int with_console(int r, const struct contact *contact, venv_error **err)
{
	_cleanup_free_ char *tail = venv__console_tail(&contact->work->record, CONSOLE_LINES);

	return venv__error_set_details(r, err, tail);
}

static int unreached(const struct contact *contact, int code, const char *why, venv_error **err)
{
	int r = venv__fail(err, code, "ssh does not reach it: %s", why);

	return with_console(r, contact, err);
}

static int give_up(const struct contact *contact, int code, const char *why, venv_error **err)
{
	const char *name = contact->work->spec->name;
	int r = unreached(contact, code, why, err);

	return venv__hint(r, err, "look at 'venv logs %s'; 'venv halt -f %s' ends it", name, name);
}

/* Its process told why, unless that was killed. */
static int ended(const struct contact *contact, enum machine_state state, venv_error **err)
{
	const char *name = contact->work->spec->name, *reason;
	_cleanup_free_ char *why = NULL;
	_cleanup_json_ json_t *record = NULL;
	int r;

	(void)venv__alive_state(contact->work->machine.dir_fd, "", &record);
	reason = state == MACHINE_CRASHED ? venv__json_str(record, "reason") : NULL;
	if (asprintf(&why, "the machine %s while it started%s%s",
		     state == MACHINE_CRASHED ? "crashed" : "ended", reason ? ": " : "",
		     reason ? reason : "") < 0)
		why = NULL;
	r = unreached(contact, VENV_ERR_STATE, why ? why : "the machine ended", err);
	return venv__hint(r, err, "look at 'venv logs %s'; 'venv up %s' starts it again", name,
			  name);
}

static int bad_initrd(const struct contact *contact, const char *meaning, venv_error **err)
{
	const struct machine_spec *spec = contact->work->spec;
	int r = venv__fail(err, VENV_ERR_STATE,
			   "its initrd is damaged or cut short: it could not be unpacked, and %s",
			   meaning);

	(void)with_console(r, contact, err);
	if (spec->kvm.initrd)
		(void)venv__at_spec(r, err, &spec->kvm.initrd_place);
	return venv__hint(r, err,
			  "make or download the initrd again, then 'venv halt -f %s' and "
			  "'venv up %s'",
			  spec->name, spec->name);
}

/* It answered, but not as it should: the cause is known, the console is of no help. */
static int refused(struct contact *contact, venv_error **err)
{
	return venv__wrap(venv__error_take(take_ptr(contact->last), err), err,
			  "ssh does not let us in");
}

/* Of a system that came up without a network, as far as that can be told; NULL: its address is in use. */
static const char *without_address(const struct work *work)
{
	/* what went on has its address from before; our own init sets it itself */
	if (work->goes_on || (work->provider->exec && work->machine.from_rootfs))
		return NULL;
	switch (venv__net_lease(&work->machine)) {
	case NET_LEASE_NONE:
		return "it never asked for an address (DHCP)";
	case NET_LEASE_ASKED:
		return "it asked for an address (DHCP), but took none";
	default:
		return NULL;
	}
}

static int no_address(struct contact *contact, const char *why, venv_error **err)
{
	return venv__hint(
		unreached(contact, VENV_ERR_TIMEOUT, why, err), err,
		"'venv logs %s' shows how far it came; its box must bring up the first "
		"network card, by DHCP or cloud-init ('boot_timeout:' gives it more time)",
		contact->work->spec->name);
}

static int timed_out(struct contact *contact, venv_error **err)
{
	_cleanup_free_ char *why = NULL;
	const char *last = contact->last ? venv_error_message(contact->last) : "no answer", *lack;
	unsigned seconds = contact->work->spec->boot_timeout_ms / 1000;
	int n;

	if (contact->denied_since)
		return refused(contact, err);
	lack = without_address(contact->work);
	if (lack)
		n = asprintf(&why, "no answer within %u s: %s; %s", seconds, lack, last);
	else
		n = asprintf(&why, "no answer within %u s (%s)", seconds, last);
	if (n < 0)
		return venv__fail_nomem(err);
	return lack ? no_address(contact, why, err) : give_up(contact, VENV_ERR_TIMEOUT, why, err);
}

/* 0: it may still come. */
static int look_at_machine(struct contact *contact, venv_error **err)
{
	enum machine_state state = MACHINE_RUNNING;
	struct dead_end end;
	int r = venv__op_cancelled(contact->work->op, err);

	if (r == 0)
		r = contact->work->provider->observe(&contact->work->machine, &state, err);
	if (r < 0)
		return r;
	if (state == MACHINE_CRASHED || state <= MACHINE_STOPPED)
		return ended(contact, state, err);
	end = find_dead_end(contact->work);
	if (end.initrd)
		return bad_initrd(contact, end.meaning, err);
	return end.meaning ? give_up(contact, VENV_ERR_STATE, end.meaning, err) : 0;
}

/* ---- Trying -------------------------------------------------------------------------------- */

static void remember_refusal(struct contact *contact, int code)
{
	if (code != VENV_ERR_DENIED && code != VENV_ERR_COMMAND)
		contact->denied_since = 0;
	else if (!contact->denied_since)
		contact->denied_since = venv__now_us();
}

/* 0: the machine has our keys now, if it has not refused the well-known one. */
static int replace_key(struct contact *contact, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = venv__first_contact(contact->work, &problem);

	if (r == 0) /* its sshd may need a moment to show the key that it was given */
		contact->denied_since = 0;
	return r == 0 || r == VENV_ERR_NETWORK || r == VENV_ERR_DENIED
		       ? 0
		       : venv__error_take(take_ptr(problem), err);
}

/* 1: it lets us in; 0: not yet. */
static int try_once(struct contact *contact, venv_error **err)
{
	struct work *work = contact->work;
	int r;

	venv__error_clear(&contact->last);
	r = venv__remote_answers(work->provider, &work->machine, work->op, &contact->last);
	if (r == 0)
		return 1;
	if (r == VENV_ERR_CANCELLED)
		return venv__error_take(take_ptr(contact->last), err);
	remember_refusal(contact, r);
	if (venv__first_contact_due(work))
		r = replace_key(contact, err);
	else
		r = 0;
	if (r == 0)
		r = look_at_machine(contact, err);
	if (r < 0)
		return r;
	if (contact->denied_since && venv__now_us() - contact->denied_since > DENIED_MS * 1000ULL)
		return refused(contact, err);
	return venv__now_us() >= contact->end ? timed_out(contact, err) : 0;
}

static int wait_for_ssh(struct contact *contact, venv_error **err)
{
	unsigned pause_ms = FIRST_PAUSE_MS;
	int r;

	while ((r = try_once(contact, err)) == 0) {
		struct pollfd wait = { .fd = venv__op_cancel_fd(contact->work->op),
				       .events = POLLIN };

		(void)poll(&wait, 1, (int)pause_ms);
		pause_ms = MIN(pause_ms * 2, (unsigned)LAST_PAUSE_MS);
	}
	return r < 0 ? r : 0;
}

int venv__work_contact(struct work *work, venv_error **err)
{
	struct contact contact = { .work = work, .begin = venv__now_us() };
	int r;

	if ((work->provider->exec && !work->provider->disks) ||
	    venv__json_bool(work->record.state, "contact", false))
		return 0;
	contact.end = contact.begin + work->spec->boot_timeout_ms * 1000ULL;
	venv__op_begin(work->op, work->spec->name, "ssh", "waiting for its ssh");
	r = wait_for_ssh(&contact, err);
	venv_error_free(contact.last);
	if (r == 0) {
		venv__op_end(work->op, work->spec->name, "ssh");
		/* ours has them already */
		r = work->provider->exec && work->machine.from_rootfs
			    ? 0
			    : venv__folders_mount(work, err);
	}
	if (r < 0)
		return r;
	(void)json_object_set_new(work->record.state, "contact", json_true());
	return venv__machine_save(&work->record, WRITE_VOLATILE, err);
}
