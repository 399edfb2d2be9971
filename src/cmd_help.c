/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_help - tng help and tng --version. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "crypto/aead.h"
#include "crypto/ossl.h"
#include "http/curl.h"

static const char overview[] =
	"tng - Trusted Network Gateway\n"
	"\n"
	"Carries TCP connections between two machines through an encrypted tunnel, and before the first byte\n"
	"passes, lets each end prove to the other what it runs on: remote attestation of a TEE such as Intel TDX.\n"
	"Programs at both ends stay as they are.\n"
	"\n"
	"   client --> tng (ingress) ==== attested tunnel ==== tng (egress) --> service\n"
	"\n"
	"usage: tng [options] COMMAND ...\n"
	"\n"
	"  launch -c FILE    run the gateway that FILE describes, until SIGTERM or SIGINT\n"
	"  check -c FILE     tell every mistake in FILE, or print it with all defaults filled in\n"
	"  lab --dir DIR     simulate the attestation components, for trying things out without a TEE\n"
	"  iptables          make or print the rules that bring traffic to the gateway\n"
	"  cleanup-iptables  take away what was left of them\n"
	"  doctor            say what would keep capture by the kernel from working here (also: precheck)\n"
	"  help [COMMAND]    this text, or that of a command\n"
	"\n"
	"  --version         versions of tng and its libraries, and the AES code in use\n"
	"  --help\n"
	"\n"
	"Options for the log, before or after the command; a variable wins over its option:\n"
	"\n"
	"  --log-file FILE             append to FILE instead of writing to standard error\n"
	"  --log-format text|json      TNG_LOG_FORMAT\n"
	"  --log-error-file FILE       TNG_LOG_ERROR_FILE     errors go there, and only there\n"
	"  --log-rolling               TNG_LOG_ROLLING        a full log file becomes FILE.1, and so on\n"
	"  --log-max-size SIZE         TNG_LOG_MAX_SIZE       64MB\n"
	"  --log-max-backups N         TNG_LOG_MAX_BACKUPS    5\n"
	"  TNG_LOG (or RUST_LOG)       error, warn, info (the default), debug, trace or off\n"
	"\n"
	"To see it work, in the source tree: scripts/quickstart\n"
	"To try it by hand, with a web server on port 8000, without any trust (tests only):\n"
	"\n"
	"  tng launch --config-content '{\n"
	"    \"add_ingress\": [{\"mapping\": {\"in\": {\"port\": 10001}, \"out\": {\"host\": \"127.0.0.1\", \"port\": 20001}},\n"
	"                     \"no_ra\": true}],\n"
	"    \"add_egress\":  [{\"mapping\": {\"in\": {\"port\": 20001}, \"out\": {\"host\": \"127.0.0.1\", \"port\": 8000}},\n"
	"                     \"no_ra\": true}]}' &\n"
	"  curl http://127.0.0.1:10001/\n"
	"\n"
	"Every key of the configuration: docs/configuration.md. How it works: docs/architecture.md.\n";

static const char launch_text[] =
	"usage: tng launch (--config-file FILE | -c FILE | --config-content JSON) [log options]\n"
	"\n"
	"Runs the gateway in the foreground. SIGTERM or SIGINT: it takes no new connections, gives those that are\n"
	"open drain_timeout seconds (5), resets what is left, and ends; a second signal ends it at once.\n"
	"SIGUSR1 writes the counters to the log.\n"
	"\n"
	"Exit status: 0 ended as asked, 1 could not start or lost a listener, 2 wrong command line,\n"
	"130 or 143 ended at once by a second signal.\n"
	"\n"
	"Log options: tng help. The configuration: docs/configuration.md.\n";

static const char check_text[] =
	"usage: tng check (--config-file FILE | -c FILE | --config-content JSON)\n"
	"\n"
	"Tells every mistake in a configuration with its place, as FILE:LINE:COLUMN: PATH: TEXT, to standard error.\n"
	"If there is none, prints the configuration with all defaults filled in to standard output; what may be\n"
	"credentials is shown as <hidden>. Files that the configuration names are looked at, nobody is contacted.\n"
	"\n"
	"Exit status: 0 valid, 1 mistakes, 2 wrong command line.\n";

static const char iptables_text[] =
	"usage: tng iptables (-c FILE | --config-file FILE | --config-content JSON) [options]\n"
	"       tng iptables (--inbound-ports LIST | --outbound-ports LIST) [options of the sidecar] [options]\n"
	"\n"
	"Makes the rules by which the kernel brings traffic to a gateway that makes none itself, as its\n"
	"interception.backend is \"none\"; or, beside one application, to a proxy that the options describe.\n"
	"\n"
	"  --dry-run                    print the commands instead; needs no rights\n"
	"  --backend nft|iptables       iptables\n"
	"  --style mesh|tng1|tng2       print what apisix-mesh-agent, TNG 1.0 or TNG 2.8 would do; only with --dry-run\n"
	"  --chain-prefix NAME          TNG: of the chains of a sidecar\n"
	"  --verbose                    print the option -w of the commands as well\n"
	"\n"
	"Options of the sidecar, with their defaults:\n"
	"\n"
	"  --inbound-ports LIST         none; '*' is all but 22\n"
	"  --outbound-ports LIST        none; '*' is all\n"
	"  --inbound-exclude-ports LIST, --outbound-exclude-ports LIST    of '*'\n"
	"  --proxy-port PORT            9080: takes outbound connections (also --apisix-port)\n"
	"  --inbound-capture-port PORT  9081: takes inbound ones (also --apisix-inbound-capture-port)\n"
	"  --proxy-user USER            nobody: whose connections go on (also --apisix-user)\n"
	"  --inbound-interception-mode REDIRECT|TPROXY    REDIRECT\n"
	"\n"
	"Exit status: 0 done, 1 could not be done, 2 wrong command line or configuration.\n";

static const char cleanup_text[] =
	"usage: tng cleanup-iptables [--instance NAME] [--chain-prefix NAME] [--dry-run]\n"
	"       tng cleanup-iptables --dry-run --all (-c FILE | --config-content JSON | --style mesh)\n"
	"\n"
	"Takes away rules, chains, tables, routes and policy rules that a gateway, tng iptables or an earlier TNG has left,\n"
	"of nftables and both flavours of iptables. What runs keeps what it has. Without --instance: of all.\n"
	"\n"
	"  --dry-run    print the commands for what is there\n"
	"  --all        for all that could be there, by a configuration or a style\n"
	"\n"
	"Exit status: 0 nothing is left, 1 something is, 2 wrong command line.\n";

static const char *text_of(const char *topic)
{
	if (topic == NULL)
		return overview;
	if (strcmp(topic, "launch") == 0)
		return launch_text;
	if (strcmp(topic, "iptables") == 0)
		return iptables_text;
	if (strcmp(topic, "cleanup-iptables") == 0)
		return cleanup_text;
	return check_text;
}

int cmd_help(const char *topic)
{
	char lab[] = "lab";
	char doctor[] = "doctor";
	char help[] = "--help";

	if (topic != NULL && strcmp(topic, "lab") == 0)
		return cmd_lab(2, (char *[]){ lab, help, NULL });
	if (topic != NULL && (strcmp(topic, "doctor") == 0 || strcmp(topic, "precheck") == 0))
		return cmd_doctor(2, (char *[]){ doctor, help, NULL });
	fputs(text_of(topic), stdout);
	return 0;
}

int cmd_version(void)
{
	struct err e;

	printf("tng %s\n", TNG_VERSION);
	printf("%s\n", ossl_version());
	printf("nghttp2 %s\n", nghttp2_version(0)->version_str);
	if (curl_load(&e) == 0)
		printf("libcurl %s\n", curl.version_info(CURLVERSION_NOW)->version);
	else
		printf("no libcurl: %s\n", e.text);
	if (aead_select("auto", &e) == 0)
		printf("AES-GCM by %s\n", aead_description());
	return 0;
}
