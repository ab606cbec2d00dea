//! Spanish.

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "es", share: 3, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}¿Cuál es la capital de {pais}?{tail}",
        "{lead}¿Quién inventó {invento}, y más o menos cuándo?{tail}",
        "{lead}¿Qué moneda se usa en {pais} y qué idiomas se hablan?{tail}",
        "{lead}¿A qué distancia está {city} de {city}?{tail}",
    ],
    translation: &[
        "Traduce al {idioma}: «{contexto}»{tail}",
        "{lead}¿Cómo se dice «{frase}» en {idioma}?{tail}",
        "Por favor, traduce esta carta a {firm} al {idioma}: {contexto*2..4}{tail}",
    ],
    summarising: &[
        "Resume este texto: {contexto*4..9}{tail}",
        "{saludo} ¿Puedes resumir esto para {gente}? {contexto*5..12}{tail}",
        "{contexto*3..7}\n\nUn resumen, por favor.{tail}",
    ],
    rewriting: &[
        "Reescribe esto con un tono {tono}: «{contexto*1..3}»{tail}",
        "{saludo} Acorta esta frase: «{contexto} {contexto}»{tail}",
        "Redacta esto de nuevo para {gente}: «{contexto*1..4}»{tail}",
    ],
    email: &[
        "{lead}Escribe un correo a {person} de {firm} {fin}.{tail}",
        "{lead}Responde con un tono {tono} a este correo de {surname}: «{contexto*1..3}»{tail}",
        "{lead}Necesito un asunto y dos líneas {fin}.{tail}",
    ],
    faq: &[
        "{lead}¿Cómo puedo {gestion}?{tail}",
        "{lead}Mi pedido {code} no ha llegado a {city}. ¿Dónde está?{tail}",
        "{lead}¿Puedo devolver el {gadget} después de {10..60} días?{tail}",
    ],
    chit_chat: &[
        "{saludo} ¿Qué tal tu {dia}? {animo}",
        "{animo} ¿Y tú, {person}?",
        "{saludo} Cuéntame un chiste sobre {tema}. {animo}",
        "{person} y yo hablamos de {tema} desde el {dia}. {animo}",
    ],
    cooking: &[
        "{lead}¿Qué puedo cocinar con {alimento}, {alimento} y {alimento}?{tail}",
        "{lead}Busco una receta con {alimento} para {2..12} personas.{tail}",
        "{lead}¿Cuánto tiempo hay que cocer {alimento}, y combina con {alimento}?{tail}",
    ],
    planning: &[
        "{lead}Planea un viaje de {2..14} días a {city}{deseo}.{tail}",
        "{lead}Haz un plan para {fiesta} con {5..80} invitados{deseo}{deseo}.{tail}",
        "{lead}Quiero aprender todo sobre {tema} en {3..20} semanas{deseo}. ¿Cómo lo hago?{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} tiene {12..95} {cosas@t}. {paso*1..3} ¿Cuántas {cosas@t} tiene ahora {person@p}?{tail}",
        "{lead}{person@p} compra {12..95} {cosas@t} a {money} euros cada una. {paso*2..5} ¿Cuántas quedan?{tail}",
    ],
    code_script: &[
        "{lead}Escribe una función en {script} que {tarea}.{tail}",
        "{lead}¿Cómo hago un programa en {script} que {tarea} y que {tarea}?{tail}",
    ],
    history_comparison: &[
        "{lead}Compara {epoca} con {epoca}: causas, desarrollo y consecuencias.{tail}",
        "{lead}¿Qué papel tuvo {tema} antes de {epoca}, y qué cambió desde {year}?{tail}",
    ],
    contract: &[
        "{lead}El contrato dice: «{clausula*1..3}» ¿Puede {firm} rescindirlo antes?{tail}",
        "{lead}¿Quién responde según este contrato? «{clausula*2..4}»{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}, {person} y {person} viven en casas contiguas. {pista*2..6} ¿Quién vive en el medio?{tail}",
        "{lead}Resuelve el acertijo. {pista*3..7} ¿Qué afirmación tiene que ser cierta?{tail}",
    ],
});

const RULES: &[Rule] = &[
    (
        "tail",
        &[
            "",
            "",
            "",
            " {breve}",
            " {pasos}",
            " {rigor}",
            " {formato}",
            " {limite}",
            " {limite} {formato}",
            " ¡Gracias!",
        ],
    ),
    (
        "breve",
        &["Solo la respuesta, por favor.", "Muy breve, por favor.", "Solo la respuesta, sin explicación."],
    ),
    ("pasos", &["Explica cada paso.", "Muestra el razonamiento paso a paso.", "Explícalo paso a paso."]),
    (
        "rigor",
        &[
            "Justifica con rigor cada afirmación y todos los casos límite.",
            "Con rigor: justifica todos los casos límite.",
        ],
    ),
    (
        "formato",
        &[
            "Devuelve el resultado como objeto JSON.",
            "Devuelve el resultado en una tabla.",
            "Responde solo en JSON válido.",
        ],
    ),
    (
        "limite",
        &[
            "Usa exactamente {3..7} viñetas.",
            "Usa exactamente {40..120} palabras.",
            "Escribe exactamente {2..6} frases.",
        ],
    ),
    (
        "lead",
        &[
            "",
            "",
            "",
            "{saludo} ",
            "{saludo} {motivo} ",
            "{motivo} ",
            "Te doy el contexto: {contexto*2..6}\n\n",
        ],
    ),
    (
        "saludo",
        &["¡Hola!", "Buenos días,", "Una pregunta rápida:", "Buenas tardes,", "Perdona la molestia.", "Oye,"],
    ),
    (
        "motivo",
        &[
            "{person}, de {city}, quiere saberlo.",
            "Salió el tema el {dia}.",
            "Lo necesito para {fiesta}.",
            "Nadie lo sabía en {firm}.",
            "Le doy vueltas desde el {dia}.",
        ],
    ),
    (
        "contexto",
        &[
            "Nuestro equipo de {firm} se mudó a {city} en primavera.",
            "{person} llamó el {dia} para preguntar por {tema}.",
            "El presupuesto es de {money} euros, pero nadie ha firmado.",
            "Llueve desde el {dia}, así que se aplaza {fiesta}.",
            "Somos {3..40} personas, casi todas de {city}.",
            "El informe menciona dos veces {tema}.",
            "{person} y {person} ya lo hablaron en la comida.",
            "Devolvimos el {gadget} después de una semana.",
        ],
    ),
    (
        "system",
        &[
            "Eres el asistente de los clientes de {firm}.",
            "Ayudas a {gente} con {tema}. Usa un tono {tono}.",
            "Hoy es {dia}. Usa un tono {tono}.",
        ],
    ),
    ("opening", &["¿Me cuentas algo sobre {tema}?", "Hola, ¿estás ahí?", "¿Conoces {city}?"]),
    (
        "reply",
        &[
            "Claro. ¿Qué quieres saber?",
            "Sí, aquí estoy. ¿En qué puedo ayudar?",
            "Con gusto, {person}. ¿Cuál es la pregunta?",
        ],
    ),
    ("dia", &["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]),
    (
        "pais",
        &[
            "Portugal",
            "Kenia",
            "Japón",
            "Canadá",
            "Finlandia",
            "Egipto",
            "Perú",
            "Noruega",
            "la India",
            "Polonia",
            "Chile",
            "Islandia",
        ],
    ),
    (
        "invento",
        &[
            "el teléfono",
            "la cremallera",
            "el microscopio",
            "la bombilla",
            "la imprenta",
            "la bicicleta",
            "el barómetro",
        ],
    ),
    ("idioma", &["inglés", "alemán", "francés", "italiano", "polaco", "sueco"]),
    (
        "frase",
        &[
            "¿Dónde está la estación?",
            "Soy alérgica a las nueces.",
            "Dos entradas para el {dia}, por favor.",
            "La luz de mi habitación no funciona.",
        ],
    ),
    ("gente", &["principiantes", "niños", "nuevos colegas", "jubilados", "estudiantes", "familias"]),
    ("tono", &["amable", "formal", "cálido", "neutro", "cortés", "ligero", "firme"]),
    (
        "fin",
        &[
            "para mover la cita al {dia}",
            "para dar las gracias por las flores",
            "para rechazar la oferta de {money} euros",
            "para invitar a {city}",
            "para quejarme del {gadget}",
        ],
    ),
    (
        "gestion",
        &[
            "restablecer mi contraseña",
            "cambiar la dirección de entrega",
            "cancelar mi suscripción",
            "descargar mi factura",
            "cambiar el {gadget}",
            "borrar mi cuenta",
        ],
    ),
    (
        "animo",
        &[
            "Me aburro en {city}.",
            "¡Qué ganas de que llegue el {dia}!",
            "Hoy el trabajo en {firm} se hizo largo.",
            "¿Te gusta hablar sobre {tema}?",
            "Podría comer {alimento} todos los días.",
            "Otra vez llueve.",
        ],
    ),
    (
        "tema",
        &[
            "energía solar",
            "volcanes",
            "ajedrez",
            "abejas",
            "inflación",
            "jazz",
            "masa madre",
            "vacunas",
            "trenes",
            "reciclaje",
        ],
    ),
    (
        "alimento",
        &[
            "arroz",
            "lentejas",
            "patatas",
            "tofu",
            "huevos",
            "setas",
            "garbanzos",
            "espinacas",
            "pasta",
            "calabaza",
        ],
    ),
    (
        "deseo",
        &["", "", ", por {money} euros como máximo", ", sin avión", ", todo en tren", ", con un {dia} libre"],
    ),
    ("fiesta", &["la boda", "el taller", "el examen", "la merienda", "el concurso", "el torneo del club"]),
    ("cosas", &["manzanas", "tarjetas", "sillas", "cajas", "canicas", "estampillas", "tazas", "velas"]),
    (
        "paso",
        &[
            "Luego {person@p} regala {2..11} a {person}.",
            "Luego {person} trae {2..9} cajas con {4..12} cada una.",
            "Luego la mitad se pierde por el camino.",
            "Luego llegan {3..19} más y {2..8} se rompen.",
        ],
    ),
    ("script", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "tarea",
        &[
            "lea un archivo CSV",
            "quite los duplicados",
            "cuente las palabras de un texto",
            "cambie el nombre de las fotos según la fecha",
            "mezcle dos listas ordenadas",
            "envíe un aviso cada {dia}",
        ],
    ),
    (
        "epoca",
        &[
            "la Revolución francesa",
            "la caída de Roma",
            "la revolución industrial",
            "la Guerra Fría",
            "la Reforma",
            "la Gran Depresión",
            "la Revolución mexicana",
        ],
    ),
    (
        "clausula",
        &[
            "Cada parte puede rescindir por escrito con {30..90} días de aviso.",
            "La responsabilidad se limita a {money} euros por siniestro.",
            "Las reparaciones de hasta {money} euros corren a cargo del inquilino.",
            "El fuero competente es el de {city}.",
            "La garantía es de {6..36} meses.",
        ],
    ),
    (
        "pista",
        &[
            "{person} no vive al lado de {person}.",
            "Quien toma té no tiene perro.",
            "{person} es mayor que {person}.",
            "Solo a una persona le gusta comer {alimento}.",
            "La casa roja está a la izquierda de la verde.",
            "{person} siempre miente los {dia}.",
        ],
    ),
];
