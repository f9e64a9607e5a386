/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VENV_KVM_GUEST_SPLICE_H
#define VENV_KVM_GUEST_SPLICE_H

/* Copy both ways between two stream sockets until both directions have ended; each ends for itself. */
void agent_splice(int a, int b);

#endif
