/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and doorbells by KVM: eventfds that the kernel reads and writes itself.
 *
 * Theory of operation: KVM knows interrupts by number (GSI) and has one table that says what each
 * number means. The first ones are pins of the IOAPIC (and, for firmware, of the PICs); each message of a
 * device gets a number of its own behind them when it is first routed. An eventfd without a message is
 * taken from KVM: what is written to it then stays in it, and KVM looks at it when it comes back.
 *   The table is given as a whole; changing it makes KVM wait for all who are reading it, so nothing is
 * done when nothing has changed.
 */
#include <string.h>

#include "private.h"

enum {
	PIC_PINS = 16,
	MASTER_PINS = 8,
	ENTRIES_MAX = LAYOUT_GSI_COUNT + PIC_PINS + IRQ_MESSAGES_MAX
};

static void add_pin(struct kvm_irq_routing *routing, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	routing->entries[routing->nr++] =
		(struct kvm_irq_routing_entry){ .gsi = gsi,
						.type = KVM_IRQ_ROUTING_IRQCHIP,
						.u.irqchip = { .irqchip = chip, .pin = pin } };
}

/* With PICs, pin 0 of theirs, the timer, is pin 2 of the IOAPIC, as on every PC. */
static void add_pins(struct kvm_irq_routing *routing, bool pics)
{
	for (uint32_t gsi = 0; pics && gsi < PIC_PINS; gsi++)
		add_pin(routing, gsi,
			gsi < MASTER_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			gsi % MASTER_PINS);
	for (uint32_t gsi = 0; gsi < LAYOUT_GSI_COUNT; gsi++) {
		if (pics && gsi == 2)
			continue;
		add_pin(routing, gsi, KVM_IRQCHIP_IOAPIC, pics && gsi == 0 ? 2 : gsi);
	}
}

static int set_routing(const struct irqs *irqs)
{
	_cleanup_free_ struct kvm_irq_routing *routing =
		calloc(1, sizeof(*routing) + ENTRIES_MAX * sizeof(routing->entries[0]));

	if (!routing)
		return -ENOMEM;
	add_pins(routing, irqs->pics);
	for (uint32_t i = 0; i < IRQ_MESSAGES_MAX; i++) {
		const struct irq_route *route = &irqs->messages[i];

		if (route->eventfd < 0)
			continue;
		routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
			.gsi = LAYOUT_GSI_COUNT + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)route->message.address,
				   .address_hi = (uint32_t)(route->message.address >> 32),
				   .data = route->message.data },
		};
	}
	return kvm_ioctl(irqs->vm->fd, KVM_SET_GSI_ROUTING, routing);
}

static int set_irqfd(const struct irqs *irqs, int eventfd, uint32_t gsi, uint32_t flags)
{
	const struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi, .flags = flags };

	return kvm_ioctl(irqs->vm->fd, KVM_IRQFD, &irqfd);
}

/* The route of an eventfd, or with -1 a free one; IRQ_MESSAGES_MAX: there is none. */
static uint32_t find(const struct irqs *irqs, int eventfd)
{
	uint32_t i = 0;

	while (i < IRQ_MESSAGES_MAX && irqs->messages[i].eventfd != eventfd)
		i++;
	return i;
}

static int add_route(struct irqs *irqs, int eventfd, const struct irq_message *message)
{
	uint32_t i = find(irqs, -1);
	int r;

	if (i == IRQ_MESSAGES_MAX)
		return -ENOSPC;
	irqs->messages[i] = (struct irq_route){ eventfd, *message };
	r = set_routing(irqs);
	if (r == 0)
		r = set_irqfd(irqs, eventfd, LAYOUT_GSI_COUNT + i, 0);
	if (r < 0)
		irqs->messages[i].eventfd = -1;
	return r;
}

/* The entry in KVM's table stays until the next change: nobody uses it. */
static int drop_route(struct irqs *irqs, uint32_t i)
{
	int eventfd = irqs->messages[i].eventfd;

	irqs->messages[i].eventfd = -1;
	return set_irqfd(irqs, eventfd, LAYOUT_GSI_COUNT + i, KVM_IRQFD_FLAG_DEASSIGN);
}

static int change_route(struct irqs *irqs, uint32_t i, const struct irq_message *message)
{
	struct irq_message *present = &irqs->messages[i].message;

	if (present->address == message->address && present->data == message->data)
		return 0;
	*present = *message;
	return set_routing(irqs);
}

static int route(void *user, int eventfd, const struct irq_message *message)
{
	struct irqs *irqs = user;
	uint32_t i;
	int r = 0;

	(void)pthread_mutex_lock(&irqs->lock);
	i = find(irqs, eventfd);
	if (i == IRQ_MESSAGES_MAX && message)
		r = add_route(irqs, eventfd, message);
	else if (i < IRQ_MESSAGES_MAX && message)
		r = change_route(irqs, i, message);
	else if (i < IRQ_MESSAGES_MAX)
		r = drop_route(irqs, i);
	(void)pthread_mutex_unlock(&irqs->lock);
	return r;
}

/*
 * SeaBIOS and boot loaders live on the PICs' timer, whose vector is 8 then. A kernel that learns from ACPI that
 * the hardware is reduced does not touch the PICs, and would take the tick that waits there, when it first lets
 * interrupts in, for a double fault. What is in long mode is neither firmware nor loader: Linux is when it looks at
 * PCI's devices, before that. Who wants the PICs all the same sets them up, with their masks.
 */
void irqs_leave_pics(const struct vcpu *vcpu)
{
	struct kvm_irqchip master = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	struct kvm_sregs sregs = { 0 };
	struct vm *vm = vcpu->vm;

	if (!vm->config.firmware || vm->pics_left || vcpu->index > 0 ||
	    kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 || !(sregs.efer & EFER_LMA) ||
	    kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &master) < 0)
		return;
	master.chip.pic.imr = 0xff;
	master.chip.pic.irr = 0;
	vm->pics_left = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &master) == 0;
}

static int set_doorbell(const struct irqs *irqs, int eventfd, uint64_t address, uint32_t flags)
{
	const struct kvm_ioeventfd doorbell = { .addr = address, .fd = eventfd, .flags = flags };

	return kvm_ioctl(irqs->vm->fd, KVM_IOEVENTFD, &doorbell);
}

static int doorbell(void *user, int eventfd, uint64_t address)
{
	return set_doorbell(user, eventfd, address, 0);
}

static void undo_doorbell(void *user, int eventfd, uint64_t address)
{
	(void)set_doorbell(user, eventfd, address, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static const struct irq_ops ops = { .route = route,
				    .doorbell = doorbell,
				    .undo_doorbell = undo_doorbell };

int irqs_init(struct irqs *irqs, struct vm *vm, bool pics, venv_error **err)
{
	int r;

	irqs->vm = vm;
	irqs->pics = pics;
	irqs->platform = (struct irq_platform){ &ops, irqs };
	(void)pthread_mutex_init(&irqs->lock, NULL);
	for (size_t i = 0; i < IRQ_MESSAGES_MAX; i++)
		irqs->messages[i].eventfd = -1;
	r = set_routing(irqs);
	return r < 0 ? venv__fail_errno(err, -r, "cannot set up interrupts") : 0;
}

void irqs_done(struct irqs *irqs)
{
	(void)pthread_mutex_destroy(&irqs->lock);
}

const struct irq_platform *vm_irqs(struct vm *vm)
{
	return &vm->irqs.platform;
}

int vm_connect(struct vm *vm, int eventfd, unsigned gsi, venv_error **err)
{
	int r = set_irqfd(&vm->irqs, eventfd, gsi, 0);

	return r < 0 ? venv__fail_errno(err, -r, "cannot connect interrupt %u", gsi) : 0;
}
