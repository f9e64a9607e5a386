/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-init: process 1 of a machine whose image brings no init. It reaps, and on SIGTERM asks all
 * others to end, waits for the last and ends itself, which ends the machine. Freestanding,
 * without libc: it stays in memory for every machine.
 *
 * Theory of operation: all signals are blocked and taken one by one by rt_sigtimedwait(). A
 * process 1 ignores what it has no handler for, so blocking loses nothing. Once asked to stop it
 * has no children left when wait4() says ECHILD: orphans of the whole pid namespace are children
 * of process 1. Processes that were entered from outside are not, so kill(-1) is asked as well:
 * ESRCH means nobody. Shells, which ignore SIGTERM, are hung up on by the keeper, which has their
 * terminals: a SIGHUP to all would cut short what a service does on SIGTERM.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <linux/prctl.h>
#include <linux/wait.h>
#include <signal.h>

#if defined(__x86_64__)
static long call4(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
static long call4(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "venv-init has no system calls for this processor yet"
#endif

struct duration {
	long seconds, nanoseconds;
};

static void reap(void)
{
	while (call4(__NR_wait4, -1, 0, WNOHANG | __WALL, 0) > 0)
		;
}

static long everybody(long signal_number)
{
	return call4(__NR_kill, -1, signal_number, 0, 0);
}

static _Noreturn void end(long status)
{
	for (;;)
		(void)call4(__NR_exit_group, status, 0, 0, 0);
}

/* kill(-1, 0) finds whoever is left, entered ones too */
static int alone(void)
{
	reap();
	return everybody(0) == -ESRCH;
}

static _Noreturn void stop(unsigned long all)
{
	struct duration moment = { 0, 20 * 1000 * 1000 };

	(void)everybody(SIGTERM);
	(void)everybody(SIGCONT);
	while (!alone())
		(void)call4(__NR_rt_sigtimedwait, (long)&all, 0, (long)&moment, sizeof(all));
	end(0);
}

__attribute__((used)) static _Noreturn void init_main(void)
{
	unsigned long all = ~0UL;

	(void)call4(__NR_prctl, PR_SET_NAME, (long)"venv-init", 0, 0);
	(void)call4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all));
	for (;;) {
		long number = call4(__NR_rt_sigtimedwait, (long)&all, 0, 0, sizeof(all));

		if (number == SIGCHLD)
			reap();
		else if (number == SIGTERM || number == SIGPWR || number == SIGINT)
			stop(all);
	}
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall init_main\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tbl init_main\n\tbrk 0\n");
#endif
