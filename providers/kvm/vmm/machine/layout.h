/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in a machine's address spaces. RAM itself: mem.h.
 *
 * Below 1 MiB everything is RAM. A kernel that is loaded directly finds its boot tables there; firmware
 * has it to itself. The last page of RAM below 4 GiB is reserved in every memory map: it holds the
 * generation id, and neither firmware nor kernels take it for theirs.
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/* direct boot, below 1 MiB */
#define LAYOUT_GDT 0x500ULL
#define LAYOUT_IDT 0x540ULL
#define LAYOUT_PVH_INFO 0x6000ULL
#define LAYOUT_PVH_MODULES 0x6040ULL
#define LAYOUT_PVH_MEMMAP 0x6080ULL
#define LAYOUT_ZERO_PAGE 0x7000ULL
#define LAYOUT_STACK 0x8ff0ULL
#define LAYOUT_PAGE_TABLES 0x9000ULL /* six pages: the first 4 GiB, one to one */
#define LAYOUT_CMDLINE 0x20000ULL
#define LAYOUT_CMDLINE_SIZE 0x10000ULL
#define LAYOUT_LOW_END 0x9fc00ULL
#define LAYOUT_ACPI 0xe0000ULL /* the RSDP, then the tables */
#define LAYOUT_ACPI_SIZE 0x1f000ULL
#define LAYOUT_RESTART 0xffff0ULL /* where a PC begins in real mode */
#define LAYOUT_KERNEL 0x100000ULL

/* the last page of RAM below MEM_HOLE */
#define LAYOUT_RESERVED_SIZE 0x1000ULL

/* devices' memory */
#define LAYOUT_PCI_WINDOW 0xc0000000ULL /* BARs, 32 bits; with firmware it begins where RAM ends */
#define LAYOUT_PCI_WINDOW_END 0xe8000000ULL
#define LAYOUT_ECAM                                                                                \
	0xe8000000ULL /* bus 0 alone; not there with firmware, which knows nothing of it */
#define LAYOUT_ECAM_SIZE 0x100000ULL
#define LAYOUT_IOAPIC 0xfec00000ULL
#define LAYOUT_LAPIC 0xfee00000ULL
#define LAYOUT_IDENTITY_MAP 0xfffbc000ULL /* a page that KVM wants, as SeaBIOS reserves it */
#define LAYOUT_TSS 0xfffbd000ULL          /* three more */
#define LAYOUT_ROM_END 0x100000000ULL
#define LAYOUT_ROM_MAX 0x40000ULL

/* ports */
#define LAYOUT_PORT_I8042 0x60
#define LAYOUT_PORT_RTC 0x70
#define LAYOUT_PORT_DEBUG_EXIT 0xf4
#define LAYOUT_PORT_COM1 0x3f8
#define LAYOUT_PORT_FWCFG 0x510
#define LAYOUT_PORT_SLEEP 0x600 /* control, status, reset: a byte each */
#define LAYOUT_PORT_PCI 0xcf8

/* global system interrupts, all edge-triggered */
enum layout_gsi { LAYOUT_GSI_COM1 = 4, LAYOUT_GSI_POWER = 16, LAYOUT_GSI_VMGENID = 17 };
enum { LAYOUT_GSI_COUNT = 24, LAYOUT_CPUS_MAX = 32 };

#endif
