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
#define LEAF_AMD_CACHES 0x8000001dU
#define LEAF_AMD_TOPOLOGY 0x8000001eU

static size_t size_of(unsigned entries)
{
	return sizeof(struct kvm_cpuid2) + entries * sizeof(struct kvm_cpuid_entry2);
}

static void set_features(struct kvm_cpuid_entry2 *entry, struct cpus cpus, unsigned id)
{
	entry->ebx = (entry->ebx & 0xffff) | id << 24 | (1U << cpus_core_bits(cpus)) << 16;
	entry->ecx |= ECX_HYPERVISOR | ECX_X2APIC | ECX_TSC_DEADLINE;
	if (cpus_per_socket(cpus) > 1)
		entry->edx |= EDX_SEVERAL;
	else
		entry->edx &= ~(uint32_t)EDX_SEVERAL;
}

/* A core has one thread; the last cache is shared by all of a socket, the others by nobody. */
static void set_caches(struct kvm_cpuid_entry2 *entry, struct cpus cpus)
{
	uint32_t level = entry->eax >> 5 & 7, ids = (1U << cpus_core_bits(cpus)) - 1;

	if ((entry->eax & 31) == 0)
		return;
	entry->eax = (entry->eax & 0x3fff) | (level >= 3 ? ids << 14 : 0);
	if (entry->function == LEAF_CACHES)
		entry->eax |= ids << 26;
}

/* The core in its socket, and the socket as its memory's node. */
static void set_amd_topology(struct kvm_cpuid_entry2 *entry, struct cpus cpus, unsigned id)
{
	entry->eax = id;
	entry->ebx = id & ((1U << cpus_core_bits(cpus)) - 1);
	entry->ecx = id >> cpus_core_bits(cpus);
}

static bool keep(struct kvm_cpuid_entry2 *entry, struct cpus cpus, unsigned id)
{
	switch (entry->function) {
	case LEAF_FEATURES:
		set_features(entry, cpus, id);
		return true;
	case LEAF_CACHES:
	case LEAF_AMD_CACHES:
		set_caches(entry, cpus);
		return true;
	case LEAF_AMD_SIZES:
		entry->ecx = cpus_core_bits(cpus) << 12 | (cpus_per_socket(cpus) - 1);
		return true;
	case LEAF_AMD_TOPOLOGY:
		set_amd_topology(entry, cpus, id);
		return true;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY_2:
		return false; /* add_topology() makes them */
	default:
		return true;
	}
}

static void add_topology(struct kvm_cpuid2 *cpuid, uint32_t leaf, struct cpus cpus, unsigned id)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ .index = 0, .eax = 0, .ebx = 1, .ecx = LEVEL_THREADS << 8 },
		{ .index = 1,
		  .eax = cpus_core_bits(cpus),
		  .ebx = cpus_per_socket(cpus),
		  .ecx = LEVEL_CORES << 8 | 1 },
		{ .index = 2, .ecx = 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels) && cpuid->nent < ENTRIES_MAX; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[cpuid->nent++];

		*entry = levels[i];
		entry->function = leaf;
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		entry->edx = id;
	}
}

/* As the first processor sees it, without the topology: nothing in it depends on where we run. */
static void make_common(struct kvm_cpuid2 *cpuid, struct cpus cpus)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (keep(&cpuid->entries[i], cpus, 0))
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

int cpuid_read(int kvm_fd, struct cpus cpus, struct kvm_cpuid2 **ret, venv_error **err)
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
	make_common(cpuid, cpus);
	*ret = cpuid;
	return 0;
}

int cpuid_set(const struct vcpu *vcpu, venv_error **err)
{
	const struct kvm_cpuid2 *common = vcpu->vm->cpuid;
	const struct cpus cpus = vcpu->vm->config.cpus;
	const unsigned id = cpus_apic_id(cpus, vcpu->index);
	_cleanup_free_ struct kvm_cpuid2 *cpuid = calloc(1, size_of(ENTRIES_MAX));
	uint32_t last = 0;
	int r;

	if (!cpuid)
		return venv__fail_nomem(err);
	for (uint32_t i = 0; i < common->nent; i++) {
		struct kvm_cpuid_entry2 entry = common->entries[i];

		if (entry.function == 0)
			last = entry.eax;
		(void)keep(&entry, cpus, id);
		cpuid->entries[cpuid->nent++] = entry;
	}
	if (last >= LEAF_TOPOLOGY)
		add_topology(cpuid, LEAF_TOPOLOGY, cpus, id);
	if (last >= LEAF_TOPOLOGY_2)
		add_topology(cpuid, LEAF_TOPOLOGY_2, cpus, id);
	r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	return r < 0 ? venv__fail_errno(err, -r, "cannot give processor %u its identity",
					vcpu->index)
		     : 0;
}
