"""Who verifies whom: the role matrix (docs/protocol/rats-tls.md), and every way evidence and tokens travel."""
import re

import pytest

from harness.services import ask, expect_closed

ROLES = ("no_ra", "attest", "verify", "both")


def role(name, attest, verify):
    return {"no_ra": {}, "attest": {"attest": attest}, "verify": {"verify": verify},
            "both": {"attest": attest, "verify": verify}}[name]


# (ingress, egress): whether the ingress has verified the egress, and the reverse
VALID = {
    ("no_ra", "no_ra"): (False, False), ("no_ra", "attest"): (False, False),
    ("verify", "attest"): (True, False),
    ("attest", "no_ra"): (False, False), ("attest", "attest"): (False, False),
    ("attest", "verify"): (False, True), ("attest", "both"): (False, True),
    ("both", "attest"): (True, False), ("both", "both"): (True, True),
}

# (ingress, egress): which side refuses, its reason, and what its log line must advise
NO_CLIENT_CERTIFICATE = ("egress", "tls_no_certificate", r"\battest\b")
NO_SERVER_EVIDENCE = ("ingress", "no_evidence", r"\battest\b")
INVALID = {
    ("no_ra", "verify"): [NO_CLIENT_CERTIFICATE], ("no_ra", "both"): [NO_CLIENT_CERTIFICATE],
    ("verify", "no_ra"): [NO_SERVER_EVIDENCE],
    ("verify", "verify"): [NO_CLIENT_CERTIFICATE, NO_SERVER_EVIDENCE],
    ("verify", "both"): [NO_CLIENT_CERTIFICATE],
    ("both", "no_ra"): [NO_SERVER_EVIDENCE], ("both", "verify"): [NO_SERVER_EVIDENCE],
}


def test_the_matrix_is_complete():
    assert set(VALID) | set(INVALID) == {(i, e) for i in ROLES for e in ROLES}


@pytest.mark.parametrize("near_role,far_role", VALID)
def test_a_valid_combination_carries(pair, echo, lab, mode, near_role, far_role):
    near, far = pair(echo.port, mode, near=role(near_role, lab.attest(), lab.verify()),
                     far=role(far_role, lab.attest(), lab.verify()))

    assert ask(near.port, b"through") == b"through"

    near_verifies, far_verifies = VALID[near_role, far_role]
    assert near.wait_flow().tee == ("sample" if near_verifies else None)
    assert far.wait_flow().tee == ("sample" if far_verifies else None)


@pytest.mark.parametrize("near_role,far_role", INVALID)
def test_an_invalid_combination_fails_closed(pair, service, connect, lab, mode, near_role, far_role):
    near, far = pair(service.port, mode, near=role(near_role, lab.attest(), lab.verify()),
                     far=role(far_role, lab.attest(), lab.verify()))

    client = connect(near.port)
    client.sendall(b"secret")
    expect_closed(client, 3)

    sides = {"ingress": near, "egress": far}
    for side, reason, advice in INVALID[near_role, far_role]:
        flow = sides[side].wait_flow()
        assert flow.reason == reason
        assert re.search(advice, flow.why), f"does not say what to change: {flow.line}"
    if "verify" in far_role or far_role == "both":
        assert not service.has_connection() or far_role == "verify" and near_role == "both"
    if service.has_connection():  # the egress has accepted its peer, who then left without a word
        expect_closed(service.accept())


# ---- ways of evidence and tokens ----

def background_rest(lab):
    return lab.attest(), lab.verify()


def background_grpc(lab):
    return lab.attest(), lab.verify_grpc()


def background_grpc_without_anchors(lab):
    verify = lab.verify_grpc()
    del verify["trusted_certs_paths"]
    return lab.attest(), verify


def background_api_server(lab):
    return lab.attest_asr(), lab.verify()


def background_with_pinned_anchor(lab):
    return lab.attest(), lab.verify(trusted_certs_paths=[lab.ca])


def passport_rest(lab):
    return lab.passport(), lab.verify_passport()


def passport_grpc(lab):
    return lab.passport(as_type="grpc", as_addr=lab.grpc), lab.verify_passport()


def passport_anchors_from_service(lab):
    verify = lab.verify_passport(as_addr=lab.rest)
    del verify["trusted_certs_paths"]
    return lab.passport(), verify


def passport_api_server(lab):
    attest = lab.passport(aa_provider="coco_asr", asr_addr=lab.asr)
    del attest["aa_addr"]
    return attest, lab.verify_passport()


def builtin(_):
    return ({"aa_type": "builtin"},
            {"as_type": "builtin", "attestation_policy": {"type": "trust_all"}})


def builtin_agent_with_service(lab):
    return {"aa_type": "builtin"}, lab.verify()


WAYS = [background_rest, background_grpc, background_grpc_without_anchors, background_api_server,
        background_with_pinned_anchor, passport_rest, passport_grpc, passport_anchors_from_service,
        passport_api_server, builtin, builtin_agent_with_service]


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
@pytest.mark.parametrize("token", ["ear", "simple"])
def test_mutual_attestation_works_in_every_way(pair, echo, start_lab, way, token):
    attest, verify = way(start_lab("--token", token))
    both = {"attest": attest, "verify": verify}
    near, far = pair(echo.port, near=both, far=both)

    assert ask(near.port, b"hello") == b"hello"
    assert near.wait_flow().tee == far.wait_flow().tee == "sample"


@pytest.mark.parametrize("near,far", [
    ("background", "passport"), ("passport", "background")])
def test_evidence_and_tokens_are_not_taken_for_each_other(pair, connect, service, lab, near, far):
    verify = {"background": lab.verify(), "passport": lab.verify_passport()}[near]
    attest = {"background": lab.attest(), "passport": lab.passport()}[far]
    near, _ = pair(service.port, near={"verify": verify}, far={"attest": attest})

    expect_closed(connect(near.port))
    assert near.wait_flow().reason == "model_mismatch"


def test_an_old_service_is_asked_in_its_own_layout(pair, echo, start_lab):
    lab = start_lab("--token", "simple")
    lab.fault("old", "as_rest")
    near, _ = pair(echo.port, near={"verify": lab.verify()}, far={"attest": lab.attest()})

    assert ask(near.port) == b"hello"
    assert near.wait_flow().tee == "sample"
    assert "1_5_2" in lab.stats("as_rest")["last_layout"].replace(".", "_")


def test_evidence_of_a_device_is_carried_along(pair, echo, lab):
    lab.fault("device", "aa")
    near, _ = pair(echo.port, near={"verify": lab.verify()}, far={"attest": lab.attest()})

    assert ask(near.port) == b"hello"


@pytest.mark.parametrize("shape", ["no_x5c", "padded_x5c"])
def test_the_shape_of_the_signers_certificates(pair, echo, connect, lab, shape):
    lab.fault(shape, "as_rest")
    near, _ = pair(echo.port, near={"verify": lab.verify()}, far={"attest": lab.attest()})

    if shape == "padded_x5c":
        assert ask(near.port) == b"hello"
        return
    expect_closed(connect(near.port))
    assert near.wait_flow().reason == "token_untrusted"


def test_every_configured_policy_must_be_in_the_token(pair, echo, connect, start_lab):
    lab = start_lab("--token", "simple", "--policy-ids", "strict")
    _, far = pair(echo.port, far={"attest": lab.attest()})

    def ingress_with(policies):
        return pair(echo.port, near={"verify": lab.verify(policy_ids=policies)}, far={"attest": lab.attest()})[0]

    assert ask(ingress_with(["default"]).port) == b"hello"
    assert ask(ingress_with(["default", "strict"]).port) == b"hello"
    near = ingress_with(["unknown"])
    expect_closed(connect(near.port))
    assert near.wait_flow().reason in ("as_refused", "token_policy")
    assert not far.flows()


def test_headers_reach_the_service(pair, echo, lab):
    verify = lab.verify(as_headers={"X-Team": "blue"})
    near, _ = pair(echo.port, near={"verify": verify}, far={"attest": lab.attest()})

    assert ask(near.port) == b"hello"
    assert {k.lower(): v for k, v in lab.stats("as_rest")["last_headers"].items()}["x-team"] == "blue"


@pytest.mark.parametrize("binding", ["legacy", "both"])
def test_the_binding_of_old_releases(pair, echo, lab, binding):
    near, _ = pair(echo.port, near={"verify": lab.verify(), "rats_tls": {"binding": binding}},
                   far={"attest": lab.attest(), "rats_tls": {"binding": "legacy"}})
    assert ask(near.port) == b"hello"
    if binding == "both":
        near, _ = pair(echo.port, near={"verify": lab.verify(), "rats_tls": {"binding": "both"}},
                       far={"attest": lab.attest()})
        assert ask(near.port) == b"hello"


@pytest.mark.parametrize("near,far", [("current", "legacy"), ("legacy", "current")])
def test_the_wrong_binding_is_refused(pair, service, connect, lab, near, far):
    near, _ = pair(service.port, near={"verify": lab.verify(), "rats_tls": {"binding": near}},
                   far={"attest": lab.attest(), "rats_tls": {"binding": far}})
    expect_closed(connect(near.port))
    assert near.wait_flow().reason == "binding_mismatch"


def test_sample_evidence_is_refused_by_the_default_policy(pair, service, connect):
    near, _ = pair(service.port, near={"verify": {"as_type": "builtin"}}, far={"attest": {"aa_type": "builtin"}})
    expect_closed(connect(near.port))
    assert near.wait_flow().reason == "policy_refused"


def test_fresh_evidence_for_every_handshake(pair, echo, lab):
    near, far = pair(echo.port, near={"verify": lab.verify()}, far={"attest": lab.attest(refresh_interval=0)})

    for _ in range(3):
        assert ask(near.port) == b"hello"
    assert lab.verifications() == 3, "each certificate is another one, so no verdict serves twice"
    assert far.wait_flow(3).reason == "done"
