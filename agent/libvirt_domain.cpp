#include "agent/libvirt_domain.hpp"

#include <array>
#include <charconv>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <expat.h>

#include "agent/guest_text.hpp"

namespace reachd {
namespace {

/// Bytes kept of a name or a UUID as found; what is shown of it is shorter still.
constexpr std::size_t text_bytes_max = 1024;

/// Where in the document the reader is. Elements of the same name elsewhere (in <metadata> anybody
/// may write what he likes) are none of these.
enum class Place : std::uint8_t {
    outside,
    status,
    domain,
    name,
    uuid,
    devices,
    interface,
    interface_part,
    elsewhere
};

struct Step {
    Place from;
    std::string_view element;
    Place to;
};

constexpr std::array<Step, 9> steps{{
    {Place::outside, "domstatus", Place::status},
    {Place::outside, "domain", Place::domain},
    {Place::status, "domain", Place::domain},
    {Place::domain, "name", Place::name},
    {Place::domain, "uuid", Place::uuid},
    {Place::domain, "devices", Place::devices},
    {Place::devices, "interface", Place::interface},
    {Place::interface, "mac", Place::interface_part},
    {Place::interface, "target", Place::interface_part},
}};

Place place_of(Place from, std::string_view element) {
    for (const auto& step : steps) {
        if (step.from == from && step.element == element) {
            return step.to;
        }
    }
    return Place::elsewhere;
}

/// libexpat gives names and values by turns, and then a null pointer.
std::string_view attribute(const XML_Char** attributes, std::string_view name) {
    for (; attributes[0] != nullptr && attributes[1] != nullptr; attributes += 2) {
        if (attributes[0] == name) {
            return attributes[1];
        }
    }
    return {};
}

class DomainReader {
  public:
    /// False: this cannot be a file of libvirt's.
    bool open(std::string_view element, const XML_Char** attributes) {
        if (places_.size() >= libvirt_depth_max) {
            return false;
        }
        const Place from = places_.empty() ? Place::outside : places_.back();
        const Place here = place_of(from, element);
        if (from == Place::outside && here == Place::elsewhere) {
            return false;
        }
        places_.push_back(here);
        enter(here, element, attributes);
        return true;
    }

    void close() {
        // The pairs are libexpat's own promise; an end without a beginning never gets here.
        if (!places_.empty()) {
            places_.pop_back();
        }
    }

    void on_text(std::string_view text) {
        const Place here = places_.empty() ? Place::outside : places_.back();
        if (here == Place::name) {
            name_ += text.substr(0, text_bytes_max - name_.size());
        } else if (here == Place::uuid) {
            uuid_ += text.substr(0, text_bytes_max - uuid_.size());
        }
    }

    std::optional<LibvirtDomain> finish() {
        domain_.name = guest_name_text(name_);
        domain_.uuid = guest_uuid_text(uuid_);
        if (domain_.name.empty()) {
            return std::nullopt;
        }
        return std::move(domain_);
    }

  private:
    void enter(Place here, std::string_view element, const XML_Char** attributes) {
        if (here == Place::status) {
            read_pid(attribute(attributes, "pid"));
        } else if (here == Place::interface) {
            keeps_interface_ = domain_.interfaces.size() < libvirt_interfaces_max;
            if (keeps_interface_) {
                domain_.interfaces.emplace_back();
            }
        } else if (here == Place::interface_part && keeps_interface_) {
            read_part(domain_.interfaces.back(), element, attributes);
        }
    }

    static void read_part(LibvirtInterface& interface,
                          std::string_view element,
                          const XML_Char** attributes) {
        if (element == "target") {
            interface.device = guest_device_text(attribute(attributes, "dev"));
            return;
        }
        const auto mac = MacAddress::parse(attribute(attributes, "address"));
        if (mac && !mac->is_zero() && !mac->is_group()) {
            interface.mac = mac;
        }
    }

    void read_pid(std::string_view text) {
        std::int32_t pid = 0;
        const auto end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, pid);
        if (parsed.ec == std::errc{} && parsed.ptr == end && pid > 0) {
            domain_.pid = pid;
        }
    }

    LibvirtDomain domain_;
    std::vector<Place> places_;
    std::string name_;
    std::string uuid_;
    bool keeps_interface_ = false;
};

/// What libexpat calls back with. No exception may pass through it, hence noexcept.
struct Session {
    XML_Parser parser = nullptr;
    DomainReader reader;
};

void XMLCALL on_open(void* data, const XML_Char* name, const XML_Char** attributes) noexcept {
    auto& session = *static_cast<Session*>(data);
    if (!session.reader.open(name, attributes)) {
        XML_StopParser(session.parser, XML_FALSE);
    }
}

void XMLCALL on_close(void* data, const XML_Char* /*name*/) noexcept {
    static_cast<Session*>(data)->reader.close();
}

void XMLCALL on_text(void* data, const XML_Char* text, int size) noexcept {
    if (size > 0) {
        static_cast<Session*>(data)->reader.on_text({text, static_cast<std::size_t>(size)});
    }
}

void XMLCALL on_document_type(void* data,
                              const XML_Char* /*name*/,
                              const XML_Char* /*system_id*/,
                              const XML_Char* /*public_id*/,
                              int /*has_internal_subset*/) noexcept {
    XML_StopParser(static_cast<Session*>(data)->parser, XML_FALSE);
}

using ParserPointer = std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)>;

}  // namespace

std::optional<LibvirtDomain> read_libvirt_domain(std::string_view xml) {
    if (xml.size() > libvirt_file_bytes_max) {
        return std::nullopt;
    }
    // Whatever encoding the text says it has: libvirt writes UTF-8, and no other is needed.
    const ParserPointer parser(XML_ParserCreate("UTF-8"), &XML_ParserFree);
    if (!parser) {
        return std::nullopt;
    }
    Session session;
    session.parser = parser.get();
    XML_SetUserData(session.parser, &session);
    XML_SetElementHandler(session.parser, on_open, on_close);
    XML_SetCharacterDataHandler(session.parser, on_text);
    XML_SetStartDoctypeDeclHandler(session.parser, on_document_type);
    const auto size = static_cast<int>(xml.size());
    if (XML_Parse(session.parser, xml.data(), size, XML_TRUE) != XML_STATUS_OK) {
        return std::nullopt;
    }
    return session.reader.finish();
}

}  // namespace reachd
