//! Portuguese.

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "pt", share: 2, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}Qual é a capital {dopais}?{tail}",
        "{lead}Quem inventou {invento}, e mais ou menos quando?{tail}",
        "{lead}Qual é a moeda {dopais} e que línguas se falam lá?{tail}",
        "{lead}Qual é a distância entre {city} e {city}?{tail}",
    ],
    translation: &[
        "Traduza para {lingua}: \"{contexto}\"{tail}",
        "{lead}Como se diz \"{frase}\" em {lingua}?{tail}",
        "Por favor, traduza esta carta à {firm} para {lingua}: {contexto*2..4}{tail}",
    ],
    summarising: &[
        "Resuma este texto: {contexto*4..9}{tail}",
        "{ola} Pode resumir isto para {gente}? {contexto*5..12}{tail}",
        "{contexto*3..7}\n\nUm resumo, por favor.{tail}",
    ],
    rewriting: &[
        "Reescreva isto num tom {tom}: \"{contexto*1..3}\"{tail}",
        "{ola} Encurte esta frase: \"{contexto} {contexto}\"{tail}",
        "Reformule isto para {gente}: \"{contexto*1..4}\"{tail}",
    ],
    email: &[
        "{lead}Escreva um e-mail a {person} da {firm} {fim}.{tail}",
        "{lead}Responda num tom {tom} a este e-mail de {surname}: \"{contexto*1..3}\"{tail}",
        "{lead}Preciso de um assunto e de duas linhas {fim}.{tail}",
    ],
    faq: &[
        "{lead}Como posso {pedido}?{tail}",
        "{lead}A minha encomenda {code} não chegou a {city}. Onde está?{tail}",
        "{lead}Posso devolver o {gadget} depois de {10..60} dias?{tail}",
    ],
    chit_chat: &[
        "{ola} Como foi a tua {dia}? {humor}",
        "{humor} E tu, {person}?",
        "{ola} Conta-me uma piada sobre {tema}. {humor}",
        "{person} e eu falamos de {tema} desde {dia}. {humor}",
    ],
    cooking: &[
        "{lead}O que posso cozinhar com {alimento}, {alimento} e {alimento}?{tail}",
        "{lead}Procuro uma receita com {alimento} para {2..12} pessoas.{tail}",
        "{lead}Quanto tempo devo cozer {alimento}, e combina com {alimento}?{tail}",
    ],
    planning: &[
        "{lead}Planeie uma viagem de {2..14} dias a {city}{desejo}.{tail}",
        "{lead}Faça um plano para {festa} com {5..80} convidados{desejo}{desejo}.{tail}",
        "{lead}Quero aprender tudo sobre {tema} em {3..20} semanas{desejo}. Como faço?{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} tem {12..95} {coisas@t}. {passo*1..3} Quantas {coisas@t} tem agora {person@p}?{tail}",
        "{lead}{person@p} compra {12..95} {coisas@t} a {money} euros cada. {passo*2..5} Quantas sobram?{tail}",
    ],
    code_script: &[
        "{lead}Escreva uma função em {script} que {tarefa}.{tail}",
        "{lead}Como faço um programa em {script} que {tarefa} e que {tarefa}?{tail}",
    ],
    history_comparison: &[
        "{lead}Compare {epoca} com {epoca}: causas, curso e consequências.{tail}",
        "{lead}Que papel teve o tema \"{tema}\" antes de {year}, e o que mudou com {epoca}?{tail}",
    ],
    contract: &[
        "{lead}O contrato diz: \"{clausula*1..3}\" A {firm} pode rescindir antes do prazo?{tail}",
        "{lead}Quem responde segundo este contrato? \"{clausula*2..4}\"{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}, {person} e {person} moram lado a lado. {pista*2..6} Quem mora no meio?{tail}",
        "{lead}Resolva o enigma. {pista*3..7} Que afirmação tem de ser verdadeira?{tail}",
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
            " {passos}",
            " {rigor}",
            " {formato}",
            " {limite}",
            " {limite} {formato}",
            " Obrigado!",
        ],
    ),
    ("breve", &["Só a resposta, por favor.", "Bem curto, por favor.", "Só a resposta, sem explicação."]),
    ("passos", &["Explique cada passo.", "Mostre o raciocínio passo a passo.", "Explique passo a passo."]),
    (
        "rigor",
        &[
            "Justifique com rigor cada afirmação e todos os casos extremos.",
            "Com rigor: justifique todos os casos extremos.",
        ],
    ),
    (
        "formato",
        &[
            "Devolva o resultado como objeto JSON.",
            "Apresente o resultado numa tabela.",
            "Responda só em JSON válido.",
        ],
    ),
    (
        "limite",
        &[
            "Use exatamente {3..7} tópicos.",
            "Use exatamente {40..120} palavras.",
            "Escreva exatamente {2..6} frases.",
        ],
    ),
    (
        "lead",
        &["", "", "", "{ola} ", "{ola} {motivo} ", "{motivo} ", "Aqui vai o contexto: {contexto*2..6}\n\n"],
    ),
    ("ola", &["Olá!", "Bom dia,", "Uma pergunta rápida:", "Boa tarde,", "Desculpe incomodar.", "Oi,"]),
    (
        "motivo",
        &[
            "{person}, de {city}, quer saber.",
            "O assunto surgiu na {dia}.",
            "Preciso disto para {festa}.",
            "Ninguém sabia na {firm}.",
            "Ando às voltas com isto desde {dia}.",
        ],
    ),
    (
        "contexto",
        &[
            "A nossa equipa da {firm} mudou-se para {city} na primavera.",
            "{person} telefonou na {dia} para perguntar sobre {tema}.",
            "O orçamento é de {money} euros, mas ninguém assinou.",
            "Chove desde {dia}, por isso {festa} foi adiada.",
            "Somos {3..40} pessoas, quase todas de {city}.",
            "O relatório menciona {tema} duas vezes.",
            "{person} e {person} já falaram disso ao almoço.",
            "Devolvemos o {gadget} ao fim de uma semana.",
        ],
    ),
    (
        "system",
        &[
            "Você é o assistente dos clientes da {firm}.",
            "Você ajuda {gente} com {tema}. Use um tom {tom}.",
            "Hoje é {dia}. Use um tom {tom}.",
        ],
    ),
    ("opening", &["Pode contar-me algo sobre {tema}?", "Olá, está aí?", "Conhece {city}?"]),
    (
        "reply",
        &[
            "Claro. O que quer saber?",
            "Sim, estou aqui. Como posso ajudar?",
            "Com prazer, {person}. Qual é a pergunta?",
        ],
    ),
    ("dia", &["segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira"]),
    (
        "dopais",
        &[
            "de Portugal",
            "do Quénia",
            "do Japão",
            "do Canadá",
            "da Finlândia",
            "do Egito",
            "do Peru",
            "da Noruega",
            "da Índia",
            "do Chile",
            "da Islândia",
        ],
    ),
    (
        "invento",
        &[
            "o telefone",
            "o fecho de correr",
            "o microscópio",
            "a lâmpada",
            "a imprensa",
            "a bicicleta",
            "o barómetro",
        ],
    ),
    ("lingua", &["inglês", "alemão", "francês", "italiano", "polaco", "sueco"]),
    (
        "frase",
        &[
            "Onde fica a estação?",
            "Sou alérgica a nozes.",
            "Dois bilhetes para {dia}, por favor.",
            "A luz do meu quarto não funciona.",
        ],
    ),
    ("gente", &["principiantes", "crianças", "novos colegas", "reformados", "estudantes", "famílias"]),
    ("tom", &["amigável", "formal", "caloroso", "neutro", "cortês", "leve", "firme"]),
    (
        "fim",
        &[
            "para mudar a reunião para {dia}",
            "para agradecer as flores",
            "para recusar a oferta de {money} euros",
            "para convidar a vir a {city}",
            "para reclamar do {gadget}",
        ],
    ),
    (
        "pedido",
        &[
            "redefinir a minha senha",
            "mudar o endereço de entrega",
            "cancelar a minha assinatura",
            "baixar a minha fatura",
            "trocar o {gadget}",
            "apagar a minha conta",
        ],
    ),
    (
        "humor",
        &[
            "Estou aborrecida em {city}.",
            "Mal posso esperar por {dia}!",
            "O trabalho na {firm} foi longo hoje.",
            "Gostas de falar sobre {tema}?",
            "Podia comer {alimento} todos os dias.",
            "Está a chover outra vez.",
        ],
    ),
    (
        "tema",
        &[
            "energia solar",
            "vulcões",
            "xadrez",
            "abelhas",
            "inflação",
            "jazz",
            "fermento natural",
            "vacinas",
            "comboios",
            "reciclagem",
        ],
    ),
    (
        "alimento",
        &[
            "arroz",
            "lentilhas",
            "batatas",
            "tofu",
            "ovos",
            "cogumelos",
            "grão-de-bico",
            "espinafres",
            "massa",
            "abóbora",
        ],
    ),
    (
        "desejo",
        &[
            "",
            "",
            ", por {money} euros no máximo",
            ", sem avião",
            ", tudo de comboio",
            ", com uma {dia} livre",
        ],
    ),
    ("festa", &["a festa da escola", "a oficina", "a prova", "a merenda", "a feira", "a final do clube"]),
    ("coisas", &["maçãs", "canetas", "cartas", "cadeiras", "caixas", "velas", "moedas", "chávenas"]),
    (
        "passo",
        &[
            "Depois {person@p} dá {2..11} a {person}.",
            "Depois {person} traz {2..9} caixas com {4..12} cada.",
            "Depois metade perde-se pelo caminho.",
            "Depois chegam mais {3..19} e partem-se {2..8}.",
        ],
    ),
    ("script", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "tarefa",
        &[
            "leia um ficheiro CSV",
            "remova os duplicados",
            "conte as palavras de um texto",
            "mude o nome das fotos pela data",
            "junte duas listas ordenadas",
            "envie um aviso a cada {dia}",
        ],
    ),
    (
        "epoca",
        &[
            "a Revolução Francesa",
            "a queda de Roma",
            "a Revolução Industrial",
            "a Guerra Fria",
            "a Reforma",
            "a Grande Depressão",
            "a era dos descobrimentos",
        ],
    ),
    (
        "clausula",
        &[
            "Cada parte pode rescindir por escrito com {30..90} dias de aviso.",
            "A responsabilidade limita-se a {money} euros por sinistro.",
            "As reparações até {money} euros cabem ao inquilino.",
            "O foro competente é o de {city}.",
            "A garantia é de {6..36} meses.",
        ],
    ),
    (
        "pista",
        &[
            "{person} não mora ao lado de {person}.",
            "Quem bebe chá não tem cão.",
            "{person} tem mais anos do que {person}.",
            "Só uma pessoa gosta de {alimento}.",
            "A casa vermelha fica à esquerda da verde.",
            "{person} mente sempre à {dia}.",
        ],
    ),
];
