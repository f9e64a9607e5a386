/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's processor says it is: what KVM can do on this host, with the numbers of processors and
 * their ids made right, which KVM leaves as the host has them.
 */
#include <string.h>

#include "private.h"

enum {
	ENTRIES_MAX = 256,
	LEAF_FEATURES = 1,
	LEAF_CACHES = 4,
	LEAF_TOPOLOGY = 0xb,
	LEAF_TOPOLOGY_2 = 0x1f,
	ECX_X2APIC = 1 << 21,
	ECX_TSC_DEADLINE = 1 << 24,
	EDX_SEVERAL = 1 << 28,
	LEVEL_THREADS = 1,
	LEVEL_CORES = 2,
};

#define ECX_HYPERVISOR (1U << 31)
#define LEAF_AMD_SIZES 0x80000008U
#define LEAF_AMD_TOPOLOGY 0x8000001eU

static size_t size_of(unsigned entries)
{
	return sizeof(struct kvm_cpuid2) + entries * sizeof(struct kvm_cpuid_entry2);
}

/* Bits that tell n ids apart. */
static unsigned id_bits(unsigned n)
{
	return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
}

static void set_features(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n)
{
	entry->ebx = (entry->ebx & 0xffff) | index << 24 | (1U << id_bits(n)) << 16;
	entry->ecx |= ECX_HYPERVISOR | ECX_X2APIC | ECX_TSC_DEADLINE;
	if (n > 1)
		entry->edx |= EDX_SEVERAL;
	else
		entry->edx &= ~(uint32_t)EDX_SEVERAL;
}

/* One core a processor; the last cache is shared by all, the others by nobody. */
static void set_caches(struct kvm_cpuid_entry2 *entry, unsigned n)
{
	uint32_t level = entry->eax >> 5 & 7, ids = (1U << id_bits(n)) - 1;

	if ((entry->eax & 31) == 0)
		return;
	entry->eax = (entry->eax & 0x3fff) | (level >= 3 ? ids << 14 : 0) | ids << 26;
}

static void set_amd_topology(struct kvm_cpuid_entry2 *entry, unsigned index)
{
	entry->eax = index;
	entry->ebx = index;
	entry->ecx = 0;
}

static bool keep(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n)
{
	switch (entry->function) {
	case LEAF_FEATURES:
		set_features(entry, index, n);
		return true;
	case LEAF_CACHES:
		set_caches(entry, n);
		return true;
	case LEAF_AMD_SIZES:
		entry->ecx = id_bits(n) << 12 | (n - 1);
		return true;
	case LEAF_AMD_TOPOLOGY:
		set_amd_topology(entry, index);
		return true;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY_2:
		return false; /* add_topology() makes them */
	default:
		return true;
	}
}

static void add_topology(struct kvm_cpuid2 *cpuid, uint32_t leaf, unsigned index, unsigned n)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ .index = 0, .eax = 0, .ebx = 1, .ecx = LEVEL_THREADS << 8 },
		{ .index = 1, .eax = id_bits(n), .ebx = n, .ecx = LEVEL_CORES << 8 | 1 },
		{ .index = 2, .ecx = 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels) && cpuid->nent < ENTRIES_MAX; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[cpuid->nent++];

		*entry = levels[i];
		entry->function = leaf;
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		entry->edx = index;
	}
}

/* As the first processor sees it, without the topology: nothing in it depends on where we run. */
static void make_common(struct kvm_cpuid2 *cpuid, unsigned n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (keep(&cpuid->entries[i], 0, n))
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

int cpuid_read(int kvm_fd, unsigned n_cpus, struct kvm_cpuid2 **ret, venv_error **err)
{
	struct kvm_cpuid2 *cpuid = calloc(1, size_of(ENTRIES_MAX));
	int r;

	if (!cpuid)
		return venv__fail_nomem(err);
	cpuid->nent = ENTRIES_MAX;
	r = kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (r < 0) {
		free(cpuid);
		return venv__fail_errno(err, -r, "cannot ask KVM what processors it has");
	}
	make_common(cpuid, n_cpus);
	*ret = cpuid;
	return 0;
}

int cpuid_set(const struct vcpu *vcpu, venv_error **err)
{
	const struct kvm_cpuid2 *common = vcpu->vm->cpuid;
	const unsigned n = vcpu->vm->config.n_cpus;
	_cleanup_free_ struct kvm_cpuid2 *cpuid = calloc(1, size_of(ENTRIES_MAX));
	uint32_t last = 0;
	int r;

	if (!cpuid)
		return venv__fail_nomem(err);
	for (uint32_t i = 0; i < common->nent; i++) {
		struct kvm_cpuid_entry2 entry = common->entries[i];

		if (entry.function == 0)
			last = entry.eax;
		(void)keep(&entry, vcpu->index, n);
		cpuid->entries[cpuid->nent++] = entry;
	}
	if (last >= LEAF_TOPOLOGY)
		add_topology(cpuid, LEAF_TOPOLOGY, vcpu->index, n);
	if (last >= LEAF_TOPOLOGY_2)
		add_topology(cpuid, LEAF_TOPOLOGY_2, vcpu->index, n);
	r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	return r < 0 ? venv__fail_errno(err, -r, "cannot give processor %u its identity",
					vcpu->index)
		     : 0;
}
