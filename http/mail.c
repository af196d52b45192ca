#include "http/mail.h"
#include "core/base64.h"
#include "core/buf.h"
#include "core/mem.h"
#include "http/call.h"

#include <string.h>
#include <time.h>

enum {
	LINE_BYTES = 57, /* 76 characters of base64 */
	WORD_BYTES = 42, /* of a subject, in one encoded word */
	RECIPIENTS = 50,
	ADDRESS = 254,
};

static int
is_address(struct str s)
{
	size_t at = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];

		if (c <= ' ' || c >= 0x7f || strchr("<>()[]\\,;:\"", c) != NULL)
			return 0;
		at += c == '@';
	}
	return at == 1 && s.n >= 3 && s.n <= ADDRESS && s.s[0] != '@' &&
	    s.s[s.n - 1] != '@';
}

/* Encoded words (RFC 2047), each of whole characters. */
static void
subject_add(struct buf *b, struct str s)
{
	char word[BASE64_SIZE(WORD_BYTES)];

	buf_adds(b, "Subject:");
	while (s.n > 0) {
		size_t n = s.n < WORD_BYTES ? s.n : WORD_BYTES;

		while (
		    n > 1 && n < s.n && ((unsigned char)s.s[n] & 0xc0) == 0x80)
			n--;
		buf_adds(b, " =?UTF-8?B?");
		buf_add(b, word, base64_put(word, s.s, n));
		buf_adds(b, "?=\r\n");
		s = (struct str){ s.s + n, s.n - n };
	}
}

static void
message_write(struct buf *b, const struct mail *mail)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu",
		"Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t at = (time_t)(mail->at_ms / 1000);
	char text[BASE64_SIZE(LINE_BYTES)];
	struct tm tm;

	gmtime_r(&at, &tm);
	buf_addf(b, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n",
	    days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec);
	buf_addf(b, "From: MeshHook <%.*s>\r\n", STR_FMT(mail->from));
	for (uint32_t i = 0; i < mail->n_to; i++)
		buf_addf(b, "%s<%.*s>%s\r\n", i == 0 ? "To: " : " ",
		    STR_FMT(mail->to[i]), i + 1 < mail->n_to ? "," : "");
	subject_add(b, mail->subject);
	buf_addf(b,
	    "Message-ID: <%.*s@meshhook>\r\nAuto-Submitted: auto-generated\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\n",
	    STR_FMT(mail->id));
	for (size_t i = 0; i < mail->body.n; i += LINE_BYTES) {
		size_t left = mail->body.n - i;

		buf_add(b, text,
		    base64_put(text, mail->body.s + i,
			left < LINE_BYTES ? left : LINE_BYTES));
		buf_adds(b, "\r\n");
	}
}

static size_t
read_message(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;
	size_t left = call->req.body.n - call->sent;

	n *= size;
	if (n > left)
		n = left;
	memcpy(p, call->req.body.s + call->sent, n);
	call->sent += n;
	return n;
}

static int
check(const struct mail *mail, struct error *err)
{
	if (mail->n_to == 0 || mail->n_to > RECIPIENTS)
		return fail(err, FAULT_INPUT, "MAIL",
		    "a mail has from 1 to %d recipients", RECIPIENTS);
	if (!is_address(mail->from))
		return fail(err, FAULT_INPUT, "MAIL", "from is no address");
	for (uint32_t i = 0; i < mail->n_to; i++)
		if (!is_address(mail->to[i]))
			return fail(
			    err, FAULT_INPUT, "MAIL", "to is no address");
	return 0;
}

/* The host, for the guard. */
static int
locate(struct http_call *call, const char *url, struct error *err)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	int r = -1;

	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    (strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0)) {
		call->host = arena_strdup(&call->arena, host);
		call->origin = call->host;
		r = 0;
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return r == 0 ? 0
		      : fail(err, FAULT_INPUT, "MAIL",
			    "the URL begins with neither smtp:// nor smtps://");
}

static void
prepare(struct http_call *call, const struct mail *mail)
{
	CURL *easy = call->easy;

	for (uint32_t i = 0; i < mail->n_to; i++) {
		struct curl_slist *l = curl_slist_append(call->slist,
		    arena_printf(&call->arena, "<%.*s>", STR_FMT(mail->to[i])));

		if (l != NULL)
			call->slist = l;
	}
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(easy, CURLOPT_URL, call->url);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM,
	    arena_printf(&call->arena, "<%.*s>", STR_FMT(mail->from)));
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, call->slist);
	curl_easy_setopt(easy, CURLOPT_USE_SSL,
	    mail->plain ? (long)CURLUSESSL_TRY : (long)CURLUSESSL_ALL);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, NULL);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, NULL);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_message);
	curl_easy_setopt(easy, CURLOPT_READDATA, call);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(
	    easy, CURLOPT_TIMEOUT_MS, (long)call->http->options.timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)call->http->options.connect_timeout_ms);
}

struct http_call *
mail_send(struct http *http, const struct mail *mail, http_done_fn *fn,
    void *arg, struct error *err)
{
	struct http_call *call;
	struct buf message;

	if (check(mail, err) < 0)
		return NULL;
	call = http_call_new(http, fn, arg, err);
	if (call == NULL)
		return NULL;
	call->url = arena_strndup(&call->arena, mail->url.s, mail->url.n);
	if (locate(call, call->url, err) < 0)
		return http_call_free(call);
	buf_init(&message);
	message_write(&message, mail);
	call->req.body = arena_str(&call->arena, buf_str(&message));
	buf_deinit(&message);
	prepare(call, mail);
	http_call_begin(call);
	return call;
}
