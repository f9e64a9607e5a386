/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many processors a machine has, and in how many sockets. A socket has as many cores as any other,
 * each of one thread; a core's APIC id is the number of its socket beside the number of it in there,
 * which takes a whole number of bits.
 */
#ifndef VMM_CPUS_H
#define VMM_CPUS_H

struct cpus {
	unsigned n, sockets; /* sockets divides n */
};

static inline unsigned cpus_per_socket(struct cpus cpus)
{
	return cpus.n / cpus.sockets;
}

/* Those that tell the cores of a socket apart. */
static inline unsigned cpus_core_bits(struct cpus cpus)
{
	unsigned per = cpus_per_socket(cpus);

	return per > 1 ? 32 - (unsigned)__builtin_clz(per - 1) : 0;
}

static inline unsigned cpus_apic_id(struct cpus cpus, unsigned index)
{
	unsigned per = cpus_per_socket(cpus);

	return index / per << cpus_core_bits(cpus) | index % per;
}

#endif
