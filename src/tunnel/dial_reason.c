/* SPDX-License-Identifier: Apache-2.0 */
/* dial_reason - two names for what the other side did, one for what we could not. */
#include "tunnel/dial_reason.h"

static enum reason reason_of(enum dial_failure failure, bool to_peer)
{
	switch (failure) {
	case DIAL_RESOLVE:
		return REASON_RESOLVE_FAILED;
	case DIAL_REFUSED:
		return to_peer ? REASON_PEER_REFUSED : REASON_SERVICE_REFUSED;
	case DIAL_UNREACHABLE:
		return to_peer ? REASON_PEER_UNREACHABLE : REASON_SERVICE_UNREACHABLE;
	case DIAL_TIMEOUT:
		return to_peer ? REASON_PEER_TIMEOUT : REASON_SERVICE_TIMEOUT;
	case DIAL_NO_DESCRIPTORS:
		return REASON_NO_DESCRIPTORS;
	case DIAL_SOURCE:
		return REASON_SOURCE_TAKEN;
	}
	return REASON_INTERNAL;
}

enum reason dial_reason_peer(enum dial_failure failure)
{
	return reason_of(failure, true);
}

enum reason dial_reason_service(enum dial_failure failure)
{
	return reason_of(failure, false);
}
