/* SPDX-License-Identifier: Apache-2.0 */
/* What all channels share: bytes both ways, the end of each way, and the end. */
#include <fcntl.h>

#include "sess.h"

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t length,
		   int is_stderr, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	if (is_stderr)
		return (int)length; /* no client has anything to say there */
	return (int)venv__sink_take(&chan->in, data, length);
}

static void on_eof(ssh_session session, ssh_channel channel, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	chan->in.eof = true;
}

static void on_close(ssh_session session, ssh_channel channel, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	chan->gone = true;
}

struct chan *chan_new(struct sess *sess, enum chan_kind kind, ssh_channel channel)
{
	struct chan *chan = calloc(1, sizeof(*chan));

	if (!chan)
		return NULL;
	*chan = (struct chan){
		.sess = sess,
		.kind = kind,
		.channel = channel,
		.in = FLOW_SINK_INIT(false),
		.out = FLOW_SOURCE_INIT(false),
		.err = FLOW_SOURCE_INIT(true),
		.control = -1,
	};
	chan->in.expected = true;
	return chan;
}

/* From here on the channel is in the list, and libssh calls back. */
int chan_attach(struct chan *chan)
{
	struct chan **end = &chan->sess->channels;

	chan->callbacks = (struct ssh_channel_callbacks_struct){
		.userdata = chan,
		.channel_data_function = on_data,
		.channel_eof_function = on_eof,
		.channel_close_function = on_close,
	};
	if (chan->kind == CHAN_SESSION)
		exec_callbacks(&chan->callbacks);
	ssh_callbacks_init(&chan->callbacks);
	if (ssh_set_channel_callbacks(chan->channel, &chan->callbacks) != SSH_OK)
		return -1;
	while (*end)
		end = &(*end)->next;
	*end = chan;
	chan->sess->n_channels++;
	return 0;
}

void chan_free(struct chan *chan)
{
	keeper_cancel(chan->call);
	if (chan->control >= 0)
		(void)close(chan->control); /* a command that still runs gets SIGHUP */
	venv__sink_close(&chan->in);
	venv__source_close(&chan->out);
	venv__source_close(&chan->err);
	if (chan->channel) {
		(void)ssh_remove_channel_callbacks(chan->channel, &chan->callbacks);
		ssh_channel_free(chan->channel);
	}
	venv__strv_free(chan->env);
	free(chan->failure);
	free(chan->term);
	free(chan->address);
	free(chan->origin);
	free(chan);
}

static void on_in(void *user, short revents)
{
	struct chan *chan = user;

	(void)revents;
	venv__sink_run(&chan->in, chan->channel);
}

static void run_source(struct chan *chan, struct flow_source *source, bool readable)
{
	if (!chan->gone && venv__source_run(source, chan->channel, readable) == FLOW_BROKEN)
		chan->gone = true;
}

static void on_out(void *user, short revents)
{
	struct chan *chan = user;

	(void)revents;
	run_source(chan, &chan->out, true);
}

static void on_err(void *user, short revents)
{
	struct chan *chan = user;

	(void)revents;
	run_source(chan, &chan->err, true);
}

void chan_poll(struct chan *chan, struct poll_set *set)
{
	if (chan->gone || chan->finished || chan->opening)
		return;
	if (venv__sink_waits(&chan->in))
		sess_poll_add(set, chan->in.fd, POLLOUT, on_in, chan);
	if (venv__source_waits(&chan->out, chan->channel))
		sess_poll_add(set, chan->out.fd, POLLIN, on_out, chan);
	if (venv__source_waits(&chan->err, chan->channel))
		sess_poll_add(set, chan->err.fd, POLLIN, on_err, chan);
	if (chan->kind == CHAN_SESSION)
		exec_poll(chan, set);
}

void chan_run(struct chan *chan)
{
	if (chan->gone || chan->finished)
		return;
	if (chan->opening) {
		forward_run(chan);
		return;
	}
	if (chan->in.eof && !venv__sink_waits(&chan->in))
		venv__sink_run(&chan->in, chan->channel);
	run_source(chan, &chan->out, false);
	run_source(chan, &chan->err, false);
	if (chan->kind == CHAN_SESSION)
		exec_run(chan);
	else
		forward_run(chan);
}

void chan_finish(struct chan *chan)
{
	if (!chan->eof_sent)
		(void)ssh_channel_send_eof(chan->channel);
	(void)ssh_channel_close(chan->channel);
	chan->eof_sent = true;
	chan->finished = true;
}
