// The join: every kind of evidence, their order, contradictions, and guests that lie.
#include "agent/guest_identity.hpp"

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

constexpr std::uint32_t libvirt_uid = 64055;
constexpr std::uint32_t user_uid = 1000;

MacAddress mac(const char* text) {
    const auto parsed = MacAddress::parse(text);
    REQUIRE(parsed);
    return *parsed;
}

const MacAddress mac_a = *MacAddress::parse("52:54:00:00:00:0a");
const MacAddress mac_b = *MacAddress::parse("52:54:00:00:00:0b");

VmProcess process(const std::string& name, std::vector<VmNic> nics, std::uint32_t owner = 0) {
    VmProcess made;
    made.owner_uid = owner;
    made.name = name;
    made.nics = std::move(nics);
    return made;
}

LibvirtDomain domain(const std::string& name, std::vector<LibvirtInterface> interfaces) {
    return {1, name, "", std::move(interfaces)};
}

GuestPort port(const std::string& device, std::vector<MacAddress> macs = {}) {
    GuestPort made;
    made.device = device;
    made.macs = std::move(macs);
    return made;
}

GuestIdentity identify(const GuestPort& guest_port, const NameEvidence& evidence) {
    return identify_guests({guest_port}, evidence).at(0);
}

NameEvidence processes(std::vector<VmProcess> of) {
    NameEvidence evidence;
    evidence.processes = std::move(of);
    evidence.vm_uids = {libvirt_uid};
    return evidence;
}

void check_named(const GuestIdentity& identity, const std::string& name, IdentifiedBy how) {
    CHECK(identity.name == name);
    CHECK(identity.vm == name);
    CHECK(to_text(identity.how) == to_text(how));
    CHECK(identity.doubt.empty());
}

void check_nameless(const GuestIdentity& identity, bool doubted) {
    CHECK(identity.name.empty());
    CHECK(identity.vm.empty());
    CHECK(identity.uuid.empty());
    CHECK(identity.macs.empty());
    CHECK(to_text(identity.how) == "nothing");
    CHECK(identity.doubt.empty() != doubted);
}

}  // namespace

TEST_CASE("each kind of evidence names a guest") {
    NameEvidence evidence;
    evidence.domains = {domain("lv", {{"vnet7", mac_a}})};
    evidence.processes = {process("qemu", {{mac_b, "tap5"}})};
    evidence.processes[0].uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    evidence.namespaces = {{3, "blue"}};

    const auto target = identify(port("vnet7"), evidence);
    check_named(target, "lv", IdentifiedBy::libvirt);
    CHECK(target.macs == std::vector<MacAddress>{mac_a});

    const auto tap = identify(port("tap5"), evidence);
    check_named(tap, "qemu", IdentifiedBy::tap_name);
    CHECK(tap.uuid == "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    CHECK(tap.macs == std::vector<MacAddress>{mac_b});

    auto like_libvirt = port("vnet9");
    like_libvirt.mac = mac("fe:54:00:00:00:0b");
    const auto by_tap_mac = identify(like_libvirt, evidence);
    check_named(by_tap_mac, "qemu", IdentifiedBy::tap_mac);
    CHECK(by_tap_mac.macs == std::vector<MacAddress>{mac_b});

    const auto learnt = identify(port("tap9", {mac("02:00:00:00:00:01"), mac_b}), evidence);
    check_named(learnt, "qemu", IdentifiedBy::guest_mac);
    CHECK(learnt.macs == std::vector<MacAddress>{mac_b});

    auto veth = port("veth3");
    veth.peer_namespace = 3;
    const auto container = identify(veth, evidence);
    CHECK(container.name == "blue");
    CHECK(container.vm.empty());
    CHECK(container.how == IdentifiedBy::network_namespace);

    check_nameless(identify(port("tap1", {mac("02:00:00:00:00:01")}), evidence), false);
}

TEST_CASE("only a tap's MAC that begins with fe is made from its guest's") {
    const auto evidence = processes({process("web01", {{mac_a, ""}})});
    auto same = port("tap1");
    same.mac = mac("02:54:00:00:00:0a");
    check_nameless(identify(same, evidence), false);
    same.mac = mac("fe:54:00:00:00:0b");
    check_nameless(identify(same, evidence), false);
}

TEST_CASE("the stronger evidence decides") {
    NameEvidence evidence;
    evidence.domains = {domain("strong", {{"vnet7", mac_a}})};
    evidence.processes = {process("weak", {{mac_b, "vnet7"}})};
    check_named(identify(port("vnet7", {mac_b}), evidence), "strong", IdentifiedBy::libvirt);
    // A container that borrows the MAC of a machine stays the container.
    evidence.namespaces = {{3, "blue"}};
    auto veth = port("veth3", {mac_a});
    veth.peer_namespace = 3;
    CHECK(identify(veth, evidence).name == "blue");
    // The other way round: what only its MAC tells is better than nothing.
    veth.peer_namespace = 4;
    check_named(identify(veth, evidence), "strong", IdentifiedBy::guest_mac);
}

TEST_CASE("a process counts if its owner may say so") {
    const std::vector<VmNic> nics{{mac_a, "tap1"}};
    const auto named_for = [&](std::optional<std::uint32_t> process_owner,
                               std::optional<std::uint32_t> tap_owner) {
        auto evidence = processes({process("web01", nics)});
        evidence.processes[0].owner_uid = process_owner;
        auto tap = port("tap1", {mac_a});
        tap.owner_uid = tap_owner;
        return identify(tap, evidence).name == "web01";
    };
    CHECK(named_for(0, std::nullopt));
    CHECK(named_for(0, user_uid));
    CHECK(named_for(libvirt_uid, std::nullopt));
    CHECK(named_for(libvirt_uid, libvirt_uid));
    CHECK(named_for(user_uid, user_uid));
    CHECK_FALSE(named_for(user_uid, std::nullopt));
    CHECK_FALSE(named_for(user_uid, 0));
    CHECK_FALSE(named_for(user_uid, user_uid + 1));
    CHECK_FALSE(named_for(user_uid, libvirt_uid));
    CHECK_FALSE(named_for(std::nullopt, std::nullopt));
    CHECK_FALSE(named_for(std::nullopt, user_uid));
}

TEST_CASE("a thousand forgeries of a user change nothing for the others") {
    auto evidence = processes({});
    for (int i = 0; i < 1000; ++i) {
        evidence.processes.push_back(
            process("forged" + std::to_string(i), {{mac_a, "tap1"}}, user_uid));
    }
    evidence.processes.push_back(process("web01", {{mac_a, "tap1"}}));
    check_named(identify(port("tap1", {mac_a}), evidence), "web01", IdentifiedBy::tap_name);
    auto own = port("tap1");
    own.owner_uid = user_uid;
    check_nameless(identify(own, evidence), true);
}

TEST_CASE("two machines by the same evidence give no name, and say so") {
    const auto both = processes({process("web01", {{mac_a, ""}}), process("web02", {{mac_a, ""}})});
    const auto learnt = identify(port("tap1", {mac_a}), both);
    check_nameless(learnt, true);
    CHECK(learnt.doubt == "tap1 may be of web01 or of web02 (guest_mac)");

    auto like_libvirt = port("vnet1");
    like_libvirt.mac = mac("fe:54:00:00:00:0a");
    check_nameless(identify(like_libvirt, both), true);

    NameEvidence stale;
    stale.domains = {domain("old", {{"vnet1", mac_b}}), domain("new", {{"vnet1", mac_a}})};
    check_nameless(identify(port("vnet1", {mac_a}), stale), true);

    // A doubt of the stronger evidence is not decided by the weaker one.
    auto doubted = both;
    doubted.processes.push_back(process("web03", {{mac_b, ""}}));
    auto also = like_libvirt;
    also.macs = {mac_b};
    check_nameless(identify(also, doubted), true);

    // Two machines behind one port, such as a nested hypervisor's.
    const auto nested =
        processes({process("web01", {{mac_a, ""}}), process("web02", {{mac_b, ""}})});
    check_nameless(identify(port("tap1", {mac_a, mac_b}), nested), true);
}

TEST_CASE("the same machine told twice is one machine") {
    NameEvidence evidence = processes({process("web01", {{mac_a, ""}}, libvirt_uid)});
    evidence.domains = {domain("web01", {{"vnet1", mac_a}})};
    check_named(identify(port("vnet1"), evidence), "web01", IdentifiedBy::libvirt);
    check_named(identify(port("tap1", {mac_a}), evidence), "web01", IdentifiedBy::guest_mac);
    // Both ends of a migration on one host.
    evidence.processes.push_back(evidence.processes.front());
    check_named(identify(port("tap1", {mac_a}), evidence), "web01", IdentifiedBy::guest_mac);
}

TEST_CASE("a guest cannot take the name of one who is known to be elsewhere") {
    const auto evidence =
        processes({process("victim", {{mac_a, "tap1"}}), process("attacker", {{mac_b, ""}})});
    const auto found = identify_guests(
        {port("tap2", {mac_b, mac_a}), port("tap1"), port("tap3", {mac_a})}, evidence);
    REQUIRE(found.size() == 3);
    check_named(found[0], "attacker", IdentifiedBy::guest_mac);
    CHECK(found[0].macs == std::vector<MacAddress>{mac_b});
    check_named(found[1], "victim", IdentifiedBy::tap_name);
    check_nameless(found[2], false);
}

TEST_CASE("a MAC behind two ports names neither") {
    const auto evidence = processes({process("victim", {{mac_a, ""}})});
    const auto found =
        identify_guests({port("tap1", {mac_a, mac_a}), port("tap2", {mac_a})}, evidence);
    check_nameless(found[0], true);
    check_nameless(found[1], true);
    CHECK(found[1].doubt == "52:54:00:00:00:0a of victim is behind tap2 and other ports");
    check_named(
        identify(port("tap1", {mac_a, mac_a}), evidence), "victim", IdentifiedBy::guest_mac);
}

TEST_CASE("of several names of a namespace the first counts") {
    NameEvidence evidence;
    evidence.namespaces = {{3, "blue"}, {3, "a1b2c3"}, {0, "zero"}};
    auto veth = port("veth3");
    veth.peer_namespace = 3;
    CHECK(identify(veth, evidence).name == "blue");
    veth.peer_namespace = 0;
    CHECK(identify(veth, evidence).name == "zero");
    veth.peer_namespace = -1;
    check_nameless(identify(veth, evidence), false);
}

TEST_CASE("machines without a name, evidence beyond the limits") {
    auto nameless = processes({process("", {{mac_a, "tap1"}})});
    check_nameless(identify(port("tap1"), nameless), false);
    nameless.processes[0].uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    const auto by_uuid = identify(port("tap1"), nameless);
    CHECK(by_uuid.name.empty());
    CHECK(by_uuid.uuid == nameless.processes[0].uuid);
    CHECK(by_uuid.how == IdentifiedBy::tap_name);

    auto many = processes(std::vector<VmProcess>(virtual_machines_max, process("x", {})));
    many.processes.push_back(process("web01", {{mac_a, "tap1"}}));
    check_nameless(identify(port("tap1"), many), false);

    auto crowded = port("tap1", std::vector<MacAddress>(port_macs_considered_max, mac_b));
    crowded.macs.push_back(mac_a);
    check_nameless(identify(crowded, processes({process("web01", {{mac_a, ""}})})), false);
    CHECK(identify_guests({}, nameless).empty());
}
